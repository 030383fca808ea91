// A window sliding over a map: sizes and padding, as striate/architecture/window.py has them.

/** A number or a pair as [rows, columns]. */
export function makePair(value) {
  return Array.isArray(value) ? value : [value, value];
}

/** [of rows, of columns]: "same", "valid", or [before, after]. */
function splitSides(padding) {
  if (typeof padding === "string") return [padding, padding];
  const [top, bottom, left, right] = Array.isArray(padding) ? padding : [padding, padding, padding, padding];
  return [
    [top, bottom],
    [left, right],
  ];
}

function slideAxis(n, kernel, stride, pad, dilation, ceil) {
  const reach = (kernel - 1) * dilation + 1;
  if (pad === "same") {
    const size = Math.ceil(n / stride);
    const total = Math.max((size - 1) * stride + reach - n, 0);
    const before = Math.floor(total / 2);
    return { n, kernel, stride, dilation, size, before, after: total - before };
  }
  const [before, after] = pad === "valid" ? [0, 0] : pad;
  const room = n + before + after - reach;
  let size = (ceil ? Math.ceil(room / stride) : Math.floor(room / stride)) + 1;
  if (ceil && (size - 1) * stride >= n + before) size -= 1;
  return { n, kernel, stride, dilation, size, before, after };
}

/** What the layer's window does over the rows and over the columns of a map of this shape. */
export function slideWindow(layer, [, height, width]) {
  const kernel = makePair(layer.kernel);
  const stride = makePair(layer.stride ?? layer.kernel);
  const dilation = makePair(layer.dilation ?? 1);
  const sides = splitSides(layer.padding);
  return [height, width].map((n, i) =>
    slideAxis(n, kernel[i], stride[i], sides[i], dilation[i], layer.ceil ?? false),
  );
}

/** The first and the one after the last position of `axis` whose tap number `tap` lies within the map. */
export function findInside(axis, tap) {
  const shift = tap * axis.dilation - axis.before; // position p reads pixel p·stride + shift
  const first = Math.max(0, Math.ceil(-shift / axis.stride));
  const end = Math.min(axis.size, Math.floor((axis.n - 1 - shift) / axis.stride) + 1);
  return [Math.min(first, axis.size), Math.max(end, Math.min(first, axis.size))];
}
