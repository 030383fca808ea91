// The words of the view Fix in English and Korean.

import { fillWords } from "./words.js";

/** @type {Record<string, Record<string, string>>} */
const OWN = {
  en: {
    lead: "Images whose label is worth a look. What you choose goes into a table beside the run; your files stay as they are.",
    label: "doubtful label",
    mistake: "mistake of the model",
    conflict: "same picture, other label",
    leak: "same picture in two splits",
    duplicate: "same picture",
    blank: "almost blank",
    position: "{0} of {1}, {2} to look at",
    labelled: "labelled {0}",
    nowLabel: "now {0}",
    nowNothing: "now left out",
    nowConfirmed: "confirmed",
    what: "What is it?",
    leave: "no class",
    skipIt: "Skip",
    backIt: "Back",
    undo: "Undo",
    other: "Another class",
    choose: "choose …",
    keysHint: "Keys: 1–9 and 0 choose a class, Enter takes the suggestion, x leaves the image out, Space or → skips, ← goes back, u undoes, / lists all classes.",
    suggestion: "Suggestion: {0}",
    none: "No label to look at: no doubtful ones in the run's report, and no mistakes.",
    finished: "All of these have been looked at.",
    saidSoFar: "{0} changed, {1} left out, {2} confirmed",
    again: "Train again with the corrections",
    nothingYet: "Nothing corrected yet.",
    byCommand: "The same at the command line:",
    findSame: "Look for same pictures",
    searching: "Looking at every image …",
    noSame: "No two look the same.",
    all: "all",
    others: "Looks the same",
    kinds: "Which ones",
    queue: "Images to look at",
    large: "{0}, labelled {1}",
    saved: "{0}: {1}",
    takenBack: "taken back: {0}",
  },
  ko: {
    lead: "레이블을 다시 볼 만한 이미지입니다. 고른 것은 실행 폴더의 표에 적히고, 원래 파일은 바뀌지 않습니다.",
    label: "의심스러운 레이블",
    mistake: "모델의 오답",
    conflict: "같은 그림, 다른 레이블",
    leak: "두 분할에 있는 같은 그림",
    duplicate: "같은 그림",
    blank: "거의 빈 이미지",
    position: "{1}개 중 {0}번째, 볼 것 {2}개",
    labelled: "레이블 {0}",
    nowLabel: "지금 {0}",
    nowNothing: "지금 제외됨",
    nowConfirmed: "확인됨",
    what: "무엇인가요?",
    leave: "어느 클래스도 아님",
    skipIt: "건너뛰기",
    backIt: "앞으로",
    undo: "되돌리기",
    other: "다른 클래스",
    choose: "고르기 …",
    keysHint: "키: 1–9와 0은 클래스 고르기, Enter는 제안 받아들이기, x는 제외, 스페이스나 →는 건너뛰기, ←는 앞으로, u는 되돌리기, /는 모든 클래스.",
    suggestion: "제안: {0}",
    none: "볼 레이블이 없습니다. 실행의 보고서에 의심스러운 것이 없고 오답도 없습니다.",
    finished: "모두 보았습니다.",
    saidSoFar: "바꿈 {0}, 제외 {1}, 확인 {2}",
    again: "고친 레이블로 다시 학습",
    nothingYet: "아직 고친 것이 없습니다.",
    byCommand: "명령줄에서는:",
    findSame: "같은 그림 찾기",
    searching: "모든 이미지를 보는 중 …",
    noSame: "같아 보이는 그림이 없습니다.",
    all: "모두",
    others: "같아 보이는 것",
    kinds: "어떤 것",
    queue: "볼 이미지",
    large: "{0}, 레이블 {1}",
    saved: "{0}: {1}",
    takenBack: "되돌림: {0}",
  },
};

/**
 * @param {string} language  "en" or "ko"
 * @returns {(name: string, ...values: any[]) => string}
 */
export function fixingWords(language) {
  const texts = OWN[language] ?? OWN.en;
  return (name, ...values) => fillWords(texts[name] ?? name, values);
}
