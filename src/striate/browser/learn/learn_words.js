// What the course says, in English or Korean.

import { ENGLISH } from "./words_english.js";
import { KOREAN } from "./words_korean.js";

export const LANGUAGES = { en: ENGLISH, ko: KOREAN };

/** say(key, { name: number }); without numbers the {names} stay, for `fill`. */
export function sayLearn(language) {
  return (key, numbers = null) => {
    const text = LANGUAGES[language][key];
    if (text === undefined) throw new Error(`${key}: the course has no such words`);
    return numbers ? text.replace(/\{(\w+)\}/g, (_, name) => numbers[name]) : text;
  };
}
