// The page's words in English and Korean. What the library says (errors, rules, addresses) is shown as it is.

/** @type {Record<string, Record<string, string>>} */
const LANGUAGES = {
  en: {
    architecture: "Architecture", training: "Training", data: "Data", results: "Results", inside: "Inside",
    run: "Run", language: "한국어", skip: "Skip to the content", gone: "The studio has stopped. Start it again with",
    working: "Working…", noRuns: "No run yet. Train one with", views: "Views",
    // inside
    image: "The image", probabilities: "Class probabilities", maps: "Every layer's maps", whole: "whole image",
    dropHere: "Drop an image anywhere, or", open: "Open a file", draw: "Draw", clear: "Clear", another: "Another test image",
    padLabel: "Drawing pad: draw with the mouse, a finger or a pen",
    hint: "Point at any pixel of any map. Click it to see where its value comes from.",
    keys: "Arrow keys move, Page Up and Page Down change the map, Enter explains.",
    sees: "sees rows {0}–{1}, columns {2}–{3} of the image", seesAll: "sees the whole image",
    explain: "Where a number comes from", explainHint: "Click a pixel of a map, a class, or a cell here: every operand can be followed.",
    down: "↓ To what weighs most", up: "↑ To who reads it", pixels: "↓↓ Down to a pixel", classUp: "↑↑ Up to a class", back: "Back",
    window: "window", filter: "filter", products: "products", value: "value", sum: "sum", largest: "largest", product: "product", same: "",
    partial: "Partial sums", checked: "{0} by {1}; {2} from the parts", all: "all {0}", strongest: "{0} strongest of {1}",
    few: "Strongest only", filters: "Filters", padding: "padding", sort: "largest first", more: "Show all {0}",
    untraced: "This file holds the traces of {0} of {1} values: those that are ringed. This prints any other:",
    left: "This file holds the maps of all layers and the traces of {0} of {1} values, ringed in the maps.",
    allTraced: "Every one of the {1} values can be clicked; each trace is stored here as striate computed and checked it.",
    way: "The way so far", darkLight: "dark is 0, light the largest", blueOrange: "blue is negative, grey 0, orange positive",
    speaks: "What speaks for a class", method: "Method", "grad-cam": "Grad-CAM", occlusion: "occlusion", "integrated-gradients": "integrated gradients",
    remove: "Put this channel to zero", restore: "Put it back", removed: "without {0}, channel {1}",
    // architecture
    netText: "The network as text: change anything", start: "Start from", ofRun: "the run's network", fits: "It fits.", summary: "Summary", picture: "Picture",
    // training
    loss: "Loss, nats an image", accuracy: "Accuracy", train: "training", valid: "validation", epoch: "epoch", epochs: "Epochs", net: "Network",
    best: "Best validation accuracy", time: "Time", leftTime: "{0} left", done: "done", live: "live", show: "Show", noStart: "Runs are started and resumed at the command line; this page follows them as they go.",
    stopped: "stopped",
    // results
    confusion: "Confusion matrix", truth: "truth", prediction: "prediction", cellHint: "Rows are the true class, columns the prediction. Choose a cell to see its pictures.",
    mistakes: "Most confident mistakes", noMistakes: "None: every image was recognised.", calibration: "Calibration",
    calibrationHint: "Bars are the accuracy at each confidence, orange lines the mean confidence; on the dotted line both agree.",
    of: "{0} taken for {1}: {2}", recognised: "{0} recognised: {2}", interval: "95 % interval {0} to {1}, {2} images", is: "is {0}", lookInside: "Look inside", report: "The whole report",
    frequent: "Most frequent confusions", none: "No images.", f1: "Macro F1", ece: "Calibration error", lossShort: "Loss",
    // data
    found: "What was found", nothing: "Nothing is wrong with it.", images: "{0} images, {1} classes", classesOf: "Images of each class", sizes: "Sizes", modes: "Modes", aspects: "Width / height",
    aspectsOf: "{0} to {1}, median {2}", error: "error", warning: "warning", note: "note", files: "{0} files",
  },
  ko: {
    architecture: "구조", training: "학습", data: "데이터", results: "결과", inside: "내부",
    run: "실행", language: "English", skip: "본문으로 건너뛰기", gone: "스튜디오가 멈췄습니다. 다시 시작하려면",
    working: "처리 중…", noRuns: "아직 실행이 없습니다. 다음 명령으로 학습하세요:", views: "보기",
    image: "이미지", probabilities: "클래스 확률", maps: "모든 층의 특징 맵", whole: "이미지 전체",
    dropHere: "이미지를 끌어다 놓거나", open: "파일 열기", draw: "그리기", clear: "지우기", another: "다른 시험 이미지",
    padLabel: "그리기 판: 마우스, 손가락 또는 펜으로 그리세요",
    hint: "아무 맵의 아무 픽셀이나 가리키세요. 클릭하면 그 값이 어디서 왔는지 보입니다.",
    keys: "방향키로 움직이고, Page Up과 Page Down으로 맵을 바꾸고, Enter로 설명을 봅니다.",
    sees: "이미지의 {0}–{1}행, {2}–{3}열을 봅니다", seesAll: "이미지 전체를 봅니다",
    explain: "숫자가 온 곳", explainHint: "맵의 픽셀, 클래스, 또는 여기의 칸을 클릭하세요. 모든 피연산자를 따라갈 수 있습니다.",
    down: "↓ 가장 큰 몫으로", up: "↑ 이 값을 읽는 곳으로", pixels: "↓↓ 픽셀까지", classUp: "↑↑ 클래스까지", back: "뒤로",
    window: "창", filter: "필터", products: "곱", value: "값", sum: "합", largest: "최댓값", product: "곱", same: "",
    partial: "부분합", checked: "{1}: {0}, 부분들로부터: {2}", all: "전체 {0}개", strongest: "{1}개 중 가장 강한 {0}개",
    few: "강한 것만", filters: "필터", padding: "패딩", sort: "큰 순서로", more: "{0}개 모두 보기",
    untraced: "이 파일에는 {1}개 값 중 {0}개의 추적이 있습니다(고리로 표시). 다른 값은 다음 명령이 출력합니다:",
    left: "이 파일에는 모든 층의 맵과 {1}개 값 중 {0}개의 추적이 들어 있고, 맵에 고리로 표시됩니다.",
    allTraced: "{1}개의 값을 모두 클릭할 수 있습니다. 추적은 striate가 계산하고 검증한 그대로 저장되어 있습니다.",
    way: "지나온 길", darkLight: "어두우면 0, 밝으면 최댓값", blueOrange: "파랑은 음수, 회색은 0, 주황은 양수",
    speaks: "클래스를 뒷받침하는 곳", method: "방법", "grad-cam": "Grad-CAM", occlusion: "가리기", "integrated-gradients": "적분 그래디언트",
    remove: "이 채널을 0으로", restore: "되돌리기", removed: "{0}의 채널 {1} 없이",
    netText: "텍스트로 된 신경망: 무엇이든 고쳐 보세요", start: "시작점", ofRun: "이 실행의 신경망", fits: "잘 맞습니다.", summary: "요약", picture: "그림",
    loss: "손실(이미지당 nat)", accuracy: "정확도", train: "학습", valid: "검증", epoch: "에포크", epochs: "에포크", net: "신경망",
    best: "최고 검증 정확도", time: "시간", leftTime: "{0} 남음", done: "완료", live: "진행 중", show: "표시", noStart: "실행의 시작과 재개는 명령줄에서 합니다. 이 화면은 진행을 따라갑니다.",
    stopped: "멈춤",
    confusion: "혼동 행렬", truth: "정답", prediction: "예측", cellHint: "행은 정답, 열은 예측입니다. 칸을 고르면 그 이미지들이 보입니다.",
    mistakes: "가장 확신한 오답", noMistakes: "없음: 모든 이미지를 맞혔습니다.", calibration: "보정",
    calibrationHint: "막대는 각 확신도에서의 정확도, 주황 선은 평균 확신도입니다. 점선 위에서 둘이 일치합니다.",
    of: "{0}을(를) {1}(으)로: {2}", recognised: "{0} 맞힘: {2}", interval: "95 % 구간 {0}–{1}, 이미지 {2}개", is: "정답 {0}", lookInside: "내부 보기", report: "전체 보고서",
    frequent: "가장 잦은 혼동", none: "이미지가 없습니다.", f1: "매크로 F1", ece: "보정 오차", lossShort: "손실",
    found: "발견한 것", nothing: "문제가 없습니다.", images: "이미지 {0}개, 클래스 {1}개", classesOf: "클래스별 이미지 수", sizes: "크기", modes: "모드", aspects: "너비 / 높이",
    aspectsOf: "{0}–{1}, 중앙값 {2}", error: "오류", warning: "경고", note: "참고", files: "파일 {0}개",
  },
};

/**
 * The words of a language: a name -> its text, with {0}, {1}, … filled in.
 * @param {string} language  "en" or "ko"
 * @returns {(name: string, ...values: any[]) => string}
 */
export function words(language) {
  const texts = LANGUAGES[language] ?? LANGUAGES.en;
  return (name, ...values) => (texts[name] ?? name).replace(/\{(\d)\}/g, (_, k) => String(values[Number(k)]));
}

export const spoken = Object.keys(LANGUAGES);
