// What the living page says beside the words of the view, in English and in Korean.

import { fillWords, words } from "./words.js";

/** @type {Record<string, Record<string, string>>} */
const OWN = {
  en: {
    lead: "The network itself is in this page: it computes here, and nothing leaves this device.",
    drawMode: "Draw",
    pointMode: "Point",
    drawHint: "Draw on the image with the mouse, a finger or a pen: every map follows",
    pointHint: "Choose pixels of the image",
    camera: "Take a photo",
    dropAnywhere: "or drop or paste one here",
    examples: "Examples",
    drawing: "drawing",
    blank: "blank",
    waking: "Waking the network…",
    working: "Working… {0}",
    unread: "This file cannot be read as a picture.",
    broken: "The network could not be started: {0}",
    altered: "This file was altered or cut off on its way here. Get it again from where it came from.",
    overlay: "Overlay",
    nothing: "none",
    ofClass: "Class",
    evidence: "Evidence",
    heat: "Orange is where {0} comes from: {1}.",
    pass: "one pass takes {0} ms here",
    network: "{0} parameters in {1} bits",
    measured: "{0} of {1} {2} images right (95 % interval {3} to {4})",
    test: "test",
    valid: "validation",
    "cross-validation": "cross-validated",
  },
  ko: {
    lead: "신경망이 이 페이지 안에 있습니다. 계산은 여기서 이루어지고, 아무것도 이 기기를 떠나지 않습니다.",
    drawMode: "그리기",
    pointMode: "가리키기",
    drawHint: "마우스나 손가락, 펜으로 이미지 위에 그려 보세요. 모든 특징 맵이 따라 바뀝니다",
    pointHint: "이미지의 픽셀 고르기",
    camera: "사진 찍기",
    dropAnywhere: "또는 끌어다 놓거나 붙여 넣으세요",
    examples: "예제",
    drawing: "그린 그림",
    blank: "빈 그림",
    waking: "신경망을 준비하는 중…",
    working: "계산하는 중… {0}",
    unread: "그림으로 읽을 수 없는 파일입니다.",
    broken: "신경망을 시작하지 못했습니다: {0}",
    altered: "이 파일은 전달되는 동안 바뀌었거나 잘렸습니다. 받은 곳에서 다시 받으세요.",
    overlay: "겹쳐 보기",
    nothing: "없음",
    ofClass: "클래스",
    evidence: "근거",
    heat: "주황색은 {0}의 근거가 된 곳입니다({1}).",
    pass: "여기서 한 번 계산하는 데 {0} ms",
    network: "매개변수 {0}개, {1}비트",
    measured: "{2} 이미지 {1}장 가운데 {0}를 맞혔습니다(95 % 신뢰구간 {3}~{4})",
    test: "시험",
    valid: "검증",
    "cross-validation": "교차 검증",
  },
};

/**
 * The words of the living page and of its view: a name -> its text, with {0}, {1}, … filled in.
 * @param {string} language  "en" or "ko"
 * @returns {(name: string, ...values: any[]) => string}
 */
export function livingWords(language) {
  const rest = words(language);
  return (name, ...values) =>
    name in OWN[language] ? fillWords(OWN[language][name], values) : rest(name, ...values);
}
