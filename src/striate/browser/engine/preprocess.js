// From the pixels of a picture to the network's input, level by level as striate.data.read does it with Pillow.

const BAR_LEVEL = 128; // of the bars that "pad" adds
const BITS = 22; // Pillow's resampling adds up whole numbers with so many binary places

/**
 * picture     { width, height, data: RGBA, a byte each }
 * preprocess  { size: [h, w], fit, mean, std }
 * channels    1 (gray) or 3
 * Gives { x: Float32Array C·h·w standardised, image: { width, height, channels, data } } at the network's size.
 */
export function prepareImage(picture, preprocess, channels) {
  const image = resizeImage(readColours(picture, channels), preprocess.size, preprocess.fit);
  return { x: standardise(image, preprocess), image };
}

/** RGBA on white, as gray or RGB. */
function readColours({ width, height, data }, channels) {
  const out = new Uint8Array(width * height * channels);
  for (let i = 0, o = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    const [r, g, b] = [0, 1, 2].map((k) => (alpha === 255 ? data[i + k] : layOnWhite(data[i + k], alpha)));
    if (channels === 3) {
      out[o++] = r;
      out[o++] = g;
      out[o++] = b;
    } else out[o++] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; // ITU-R 601 as Pillow rounds it
  }
  return { width, height, channels, data: out };
}

/** As Pillow's alpha_composite rounds. */
function layOnWhite(level, alpha) {
  const sum = (level * alpha + 255 * (255 - alpha)) * 128 + (0x80 << 7);
  return ((sum >> 8) + sum) >> 8 >> 7;
}

/** Levels, a byte each -> float32 C·h·w, (x/255 − mean)/std. */
export function standardise({ width, height, channels, data }, { mean, std }) {
  const size = width * height;
  const x = new Float32Array(channels * size);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < size; i++) x[c * size + i] = (data[i * channels + c] / 255 - mean[c]) / std[c];
  }
  return x;
}

// Where it comes to lie -------------------------------------------------------------------------------

/** "pad", "squash", "crop", "crop 256 bicubic". */
export function parseFit(text) {
  const [kind, ...words] = text.split(" ");
  const shorter = /^\d+$/.test(words[0] ?? "") ? Number(words.shift()) : null;
  return { kind, shorter, interpolation: words[0] ?? "bilinear" };
}

/** A picture of h×w in a frame of `size`: scaled to height×width, its corner at (top, left). */
export function placeImage([h, w], size, fit) {
  const { kind, shorter } = parseFit(fit);
  let [height, width] = shorter === null ? size : [shorter, shorter];
  if (kind !== "squash") {
    const upright = height * w <= width * h;
    if (upright === (kind === "pad")) width = Math.max(1, Math.floor((2 * w * height + h) / (2 * h)));
    else height = Math.max(1, Math.floor((2 * h * width + w) / (2 * w)));
  }
  return { height, width, top: Math.trunc((size[0] - height) / 2), left: Math.trunc((size[1] - width) / 2) };
}

export function resizeImage(image, size, fit) {
  const { kind, shorter, interpolation } = parseFit(fit);
  if (image.height === size[0] && image.width === size[1] && shorter === null) return image;
  const { height, width, top, left } = placeImage([image.height, image.width], size, fit);
  const whole = [0, 0, image.width, image.height];
  if (height === size[0] && width === size[1]) return resample(image, size, whole, interpolation);
  if (shorter !== null && height * width <= 16 * size[0] * size[1]) {
    const scaled = resample(image, [height, width], whole, interpolation);
    return cutImage(scaled, -top, -left, size);
  }
  if (kind === "crop") {
    const [y, x] = [image.height / height, image.width / width];
    const box = [-left * x, -top * y, (size[1] - left) * x, (size[0] - top) * y];
    return resample(image, size, box, interpolation);
  }
  const frame = makeImage(size, image.channels);
  frame.data.fill(BAR_LEVEL);
  const scaled = resample(image, [height, width], whole, interpolation);
  for (let row = 0; row < height; row++) {
    const line = scaled.data.subarray(row * width * image.channels, (row + 1) * width * image.channels);
    frame.data.set(line, ((top + row) * size[1] + left) * image.channels);
  }
  return frame;
}

function makeImage([height, width], channels) {
  return { width, height, channels, data: new Uint8Array(width * height * channels) };
}

function cutImage(image, top, left, size) {
  const cut = makeImage(size, image.channels);
  const length = size[1] * image.channels;
  for (let row = 0; row < size[0]; row++) {
    const from = ((top + row) * image.width + left) * image.channels;
    cut.data.set(image.data.subarray(from, from + length), row * length);
  }
  return cut;
}

// Resampling with antialiasing, rows first, then columns, each rounded to whole levels ------------------

const FILTERS = {
  bilinear: { support: 1, weigh: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weigh: weighCubic },
};

/** Keys' cubic with a = −0.5. */
function weighCubic(x) {
  const [a, t] = [-0.5, Math.abs(x)];
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

/** The image's `box` [left, top, right, bottom] at `size` [h, w]. */
function resample(image, size, place, interpolation) {
  const box = place.map(Math.fround); // Pillow holds it in float32
  const filter = FILTERS[interpolation];
  const across = size[1] !== image.width || box[0] !== 0 || box[2] !== image.width;
  const down = size[0] !== image.height || box[1] !== 0 || box[3] !== image.height;
  const wide = (made) => scaleRows(made, size[1], findTaps(image.width, box[0], box[2], size[1], filter));
  const tall = (made) => scaleColumns(made, size[0], findTaps(image.height, box[1], box[3], size[0], filter));
  // Pillow's order since version 13 (Resample.c), which makes a level's difference.
  const lower = image.height - size[0];
  if (across && down && lower > 0 && lower > 2 * (image.width - size[1])) return wide(tall(image));
  const made = across ? wide(image) : image;
  return down ? tall(made) : made;
}

/** For each place of the output the first pixel that it reads and the weights of those from there on, whole numbers. */
function findTaps(n, from, to, out, { support, weigh }) {
  const scale = Math.fround(to - from) / out;
  const wide = Math.max(scale, 1);
  const reach = support * wide;
  return Array.from({ length: out }, (_, place) => {
    const middle = from + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const last = Math.min(n, Math.trunc(middle + reach + 0.5));
    const weights = [];
    for (let i = first; i < last; i++) weights.push(weigh((i - middle + 0.5) / wide));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => roundAway((sum === 0 ? w : w / sum) * 2 ** BITS)) };
  });
}

function roundAway(value) {
  return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
}

function toLevel(sum) {
  return Math.min(255, Math.max(0, Math.floor((sum + 2 ** (BITS - 1)) / 2 ** BITS)));
}

function scaleRows(image, width, taps) {
  const { height, channels, data } = image;
  const made = makeImage([height, width], channels);
  for (let row = 0, o = 0; row < height; row++) {
    for (const { first, weights } of taps) {
      const start = (row * image.width + first) * channels;
      for (let c = 0; c < channels; c++, o++) {
        let sum = 0;
        for (let k = 0, i = start + c; k < weights.length; k++, i += channels) sum += data[i] * weights[k];
        made.data[o] = toLevel(sum);
      }
    }
  }
  return made;
}

function scaleColumns(image, height, taps) {
  const { width, channels, data } = image;
  const made = makeImage([height, width], channels);
  const line = width * channels;
  taps.forEach(({ first, weights }, row) => {
    for (let i = 0; i < line; i++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += data[(first + k) * line + i] * weights[k];
      made.data[row * line + i] = toLevel(sum);
    }
  });
  return made;
}
