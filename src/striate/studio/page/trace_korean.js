// The texts of a record that the page's engine made, in Korean. They are the library's own (locale/ko.po): a key is the
// English, with {name} for what is filled in.

/** @type {Record<string, string>} */
const KOREAN = {
  "(byte / 255 − mean) / std": "(바이트 / 255 − 평균) / 표준편차",
  "(x − mean) / √(variance + eps)": "(x − 평균) / √(분산 + eps)",
  "(x − mean) / √(variance + eps) over its group of channels": "(x − 평균) / √(분산 + eps), 이 채널 그룹에 대해",
  "(x − mean) / √(variance + eps) over the channel": "(x − 평균) / √(분산 + eps), 이 채널에 대해",
  "(x − mean) / √(variance + eps) over the channels here": "(x − 평균) / √(분산 + eps), 이 위치의 모든 채널에 대해",
  "1.0507·x, or 1.7581·(e^x − 1) where x < 0": "1.0507·x, x < 0이면 1.7581·(e^x − 1)",
  "a channel of zeros": "0으로 채운 채널",
  "a value of the image as it reaches the net": "신경망에 들어가는 이미지의 값",
  "added to x, and the bias": "x와 편향을 더함",
  bias: "편향",
  "byte, 0 to 255": "바이트, 0부터 255까지",
  channel: "채널",
  "channel {channel}": "채널 {channel}",
  channels: "채널",
  "divided by the standard deviation": "표준편차로 나눔",
  "divided by their number": "개수로 나눔",
  "e^(x − largest)": "e^(x − 최댓값)",
  filter: "필터",
  "fixed weight": "고정된 가중치",
  image: "이미지",
  input: "입력",
  inputs: "입력",
  "its negative": "부호를 바꿈",
  "its share": "차지하는 몫",
  largest: "최댓값",
  length: "길이",
  mean: "평균",
  "mean length": "평균 길이",
  "mean of (x − {0})²": "(x − {0})²의 평균",
  "minus the mean": "평균을 뺌",
  "no window has this place": "이 자리를 덮는 창이 없음",
  pad: "패딩",
  "padding alone": "패딩뿐",
  pixel: "픽셀",
  "plus the shift": "이동을 더함",
  preprocessed: "전처리",
  product: "곱",
  products: "곱",
  response: "응답",
  scale: "배율",
  shift: "이동",
  slope: "기울기",
  squared: "제곱",
  "squares of channel {channel}": "채널 {channel}의 제곱",
  "squares of the neighbours": "이웃 채널의 제곱",
  sum: "합",
  "the branches added": "가지들의 합",
  "the branches multiplied": "가지들의 곱",
  "the image": "이미지",
  "the largest of map {channel}": "맵 {channel}의 최댓값",
  "the largest under the window": "창 안의 최댓값",
  "the mean of map {channel}": "맵 {channel}의 평균",
  "the mean under the window": "창 안의 평균",
  "times the scale": "배율을 곱함",
  "times x and the weight": "x와 가중치를 곱함",
  variance: "분산",
  weight: "가중치",
  window: "창",
  "x + weight·x·(length / (mean length + eps)) + bias": "x + 가중치·x·(길이 / (평균 길이 + eps)) + 편향",
  "x divided by it": "x를 그것으로 나눔",
  "x, or alpha·(e^(x/alpha) − 1) where x < 0": "x, x < 0이면 alpha·(e^(x/alpha) − 1)",
  "x, or alpha·(e^x − 1) where x < 0": "x, x < 0이면 alpha·(e^x − 1)",
  "x, or slope·x where x < 0": "x, x < 0이면 기울기·x",
  "x·scale": "x·배율",
  "{name}, its channel {channel}": "{name}의 채널 {channel}",
  "{count} others": "나머지 {count}개",
  "{first} to {last}": "{first}부터 {last}까지",
  "{0}, or {alpha}·(e^({0}/{alpha}) − 1) if negative": "{0}, 음수면 {alpha}·(e^({0}/{alpha}) − 1)",
  "{0}, or {alpha}·(e^{0} − 1) if negative": "{0}, 음수면 {alpha}·(e^{0} − 1)",
  "{0}, times {slope} if negative": "{0}, 음수면 {slope}배",
  "{at}, unchanged": "{at} 그대로",
  "{rule} + bias": "{rule} + 편향",
  "{rule}·scale + shift": "{rule}, 그다음 ·배율 + 이동",
  "Σ channel·weight": "Σ 채널·가중치",
  "Σ input·weight": "Σ 입력·가중치",
  "Σ neighbour·share": "Σ 이웃 값·몫",
  "Σ patch·blur": "Σ 창의 값·블러 필터",
  "Σ patch·filter over the channels": "모든 채널에 걸친 Σ 창의 값·필터",
  "Σ value·its weight here": "Σ 값·이 자리의 가중치",
  "put to zero": "0으로 만듦",
  "the page's engine, float32, whole maps": "이 페이지의 엔진(float32, 맵 전체)",
};

const MARKS = ["won", "padding"]; // notes that stay as they are, for others ask for them

/** Keys with something to fill in, as patterns: the longest first, so that the fullest one fits. */
const PATTERNS = Object.keys(KOREAN)
  .filter((key) => key.includes("{"))
  .sort((a, b) => b.replace(/\{\w+\}/g, "").length - a.replace(/\{\w+\}/g, "").length)
  .map((key) => {
    /** @type {string[]} */
    const names = [];
    const pattern = key.replace(/[.*+?^$()|[\]\\/]/g, "\\$&").replace(/\{(\w+)\}/g, (_, name) => {
      if (names.includes(name)) return `\\${names.indexOf(name) + 1}`;
      names.push(name);
      return "(.+)";
    });
    return { key, names, pattern: new RegExp(`^${pattern}$`) };
  });

/** @param {string} text */
export function translateText(text) {
  if (!text) return text;
  if (Object.hasOwn(KOREAN, text)) return KOREAN[text];
  for (const { key, names, pattern } of PATTERNS) {
    const found = pattern.exec(text);
    if (!found) continue;
    return KOREAN[key].replace(/\{(\w+)\}/g, (_, name) => translateText(found[names.indexOf(name) + 1]));
  }
  return text;
}

/**
 * A record of the page's engine in a language.
 * @param {any} trace
 * @param {string} language
 */
export function sayTrace(trace, language) {
  if (language !== "ko" || !trace) return trace;
  const term = (/** @type {any} */ one) =>
    one.note && !MARKS.includes(one.note) ? { ...one, note: translateText(one.note) } : one;
  return {
    ...trace,
    rule: translateText(trace.rule),
    checked_by: translateText(trace.checked_by),
    groups: trace.groups.map((/** @type {any} */ group) => ({
      ...group,
      name: translateText(group.name),
      terms: group.terms.map(term),
    })),
    steps: trace.steps.map((/** @type {any} */ step) => ({
      ...step,
      name: translateText(step.name),
      text: translateText(step.text),
      parts: step.parts.map(term),
    })),
  };
}
