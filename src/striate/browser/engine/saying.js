// What the engine says in words. A text is a key, its English, and values, as in striate/language.py; its Korean is the
// catalogue's (striate/locale/ko.po), which a page is given, with the particles that fit, as in striate/korean.py.

import { formatGeneral } from "./decimals.js";

/** The Korean texts by their keys, while something is said in Korean. */
let spoken = null;

/** What `make` gives, its texts in Korean where a catalogue is given, in English where it is null. */
export function sayFrom(catalogue, make) {
  const before = spoken;
  spoken = catalogue;
  try {
    return make();
  } finally {
    spoken = before;
  }
}

/** The text of a key in the language of the moment; values by their names, or an array for {0}, {1}. */
export function say(key, values = {}) {
  return spoken !== null && Object.hasOwn(spoken, key) ? fillKorean(spoken[key], values) : fillText(key, values);
}

/** A key as it is: a text that is written down here and said elsewhere. The catalogue must have it. */
export const toSay = (key) => key;

const FIELD = /\{(\w+)(:g)?\}/g;

function fillText(text, values) {
  return text.replace(FIELD, (_, name, general) => (general ? formatGeneral(values[name]) : String(values[name])));
}

// Particles ------------------------------------------------------------------------------------------

/** "[을/를]" in a text: the first after a final consonant, the second, which may be empty, after a vowel. */
const PAIR = /\[([가-힣]+)\/([가-힣]*)\]/;

/** A text with its values, and of each pair of particles the one that fits what stands before it. */
export function fillKorean(text, values) {
  let made = "";
  for (const part of text.split(/(\{\w+(?::g)?\}|\[[가-힣]+\/[가-힣]*\])/)) {
    const pair = PAIR.exec(part);
    made += pair ? chooseParticle(made, pair[1], pair[2]) : fillText(part, values);
  }
  return made;
}

/** `closed` where the last sound of `before` is a consonant, else `opened`; 로 goes with ㄹ as with a vowel. */
export function chooseParticle(before, closed, opened) {
  const final = findFinal(before);
  return !final || (final === "ㄹ" && closed.startsWith("으로")) ? opened : closed;
}

/** The final sound of a numeral as it is read (영 일 이 …), and of a row of zeros after others (십 백 천 만 … 조). */
const DIGITS = ["ㅇ", "ㄹ", "", "ㅁ", "", "", "ㄱ", "ㄹ", "ㄹ", ""];
const TENS = ["ㅂ", "ㄱ", "ㄴ", "ㄴ", "ㄴ", "ㄴ", "ㄴ", "ㄱ", "ㄱ", "ㄱ", "ㄱ", ""];

/** Capitals are read one by one: of these the names end in a consonant, 엘 엠 엔 알. */
const CAPITALS = { L: "ㄹ", M: "ㅁ", N: "ㄴ", R: "ㄹ" };

/** Signs that are read as words, and units behind a number. */
const SIGNS = { "%": "", "×": "", "+": "", "°": "", "²": "ㅂ", α: "", λ: "", β: "" };

/** Foreign words as they are spelled in Korean. */
const FINAL_WORDS = [
  [/(l|le)$/, "ㄹ"],
  [/(m|me|mb)$/, "ㅁ"],
  [/(n|ng|[aeiou]ne|gn)$/, "ㄴ"],
  [/(^|[^aeiou])[aeiou](p|t|k|ck)$|ook$/, "ㅂ"],
];

/** The final consonant of the last word as it is read, "" behind a vowel; what stands in brackets behind it is not. */
function findFinal(text) {
  const word = text.replace(/['"`’”」』 .,;:…]+$/, "");
  if (/[)\]]$/.test(word)) {
    const opening = word.lastIndexOf(word.endsWith(")") ? "(" : "[");
    const before = opening > 0 ? word.slice(0, opening) : "";
    return findFinal(before.trim() ? before : word.slice(opening + 1, -1));
  }
  const letter = word.slice(-1);
  if (letter >= "가" && letter <= "힣") return nameFinal(letter);
  if (letter >= "0" && letter <= "9") return findNumberFinal(word);
  if (Object.hasOwn(SIGNS, letter)) return SIGNS[letter];
  return /\p{Lu}/u.test(letter) ? (CAPITALS[letter] ?? "") : findWordFinal(word);
}

/** ㄹ, "" for none, and ㅂ for all other finals, between which no particle tells. */
function nameFinal(syllable) {
  const final = (syllable.codePointAt(0) - "가".codePointAt(0)) % 28;
  return final === 0 ? "" : final === 8 ? "ㄹ" : "ㅂ";
}

/** A number ends in the name of its last digit, or in that of its power of ten. */
function findNumberFinal(word) {
  const digits = /[\d.,]*\d$/.exec(word)[0].replaceAll(",", "");
  const zeros = /0*$/.exec(digits)[0].length;
  if (zeros === 0 || digits.includes(".") || zeros === digits.length) return DIGITS[Number(digits.slice(-1))];
  return TENS[Math.min(zeros, TENS.length) - 1];
}

/** The final of a word in Latin letters, by how such words are written in Korean. */
function findWordFinal(word) {
  const tail = /[A-Z]?[a-z]*$/.exec(/[A-Za-z]*$/.exec(word)[0])[0].toLowerCase();
  return FINAL_WORDS.find(([pattern]) => pattern.test(tail))?.[1] ?? "";
}
