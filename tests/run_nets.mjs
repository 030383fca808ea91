// What node and the browser both do with the nets of a test: every output and map, one after another.

export function runNets(openNetwork, given, buffer, plain) {
  const list = [];
  const values = [];
  const read = (offset, shape) => new Float32Array(buffer, offset, shape.reduce((a, b) => a * b, 1));
  const add = (data) => {
    for (const value of data) values.push(value);
    return data.length;
  };
  for (const { net, tensors, x, zero } of given) {
    const named = new Map(tensors.map(({ name, shape, offset }) => [name, { shape, data: read(offset, shape) }]));
    const network = openNetwork(net, named, { plain });
    const image = read(x, net.input);
    const last = network.forward(image, { keep: "last", zero });
    const all = network.forward(image, { zero });
    const again = network.forward(image, { keep: "last", zero });
    const paths = [...network.shapes.keys()].filter((_, i) => i % 2 === list.length % 2);
    const some = network.forward(image, { keep: new Set(paths), zero });
    network.forward(image.map((value) => -value), { keep: "last" }); // must not write into what was returned
    const kept = [...some.maps].map(([path, { data }]) => ({ path, apart: compareMaps(data, all.maps.get(path).data) }));
    const maps = [...all.maps].map(([path, { shape, data }]) => ({ path, shape, length: add(data) }));
    const [output, ...others] = [all.output, last.output, again.output, some.output].map(add);
    const shapes = [...network.shapes];
    list.push({ kernel: network.kernel, maps, output, others, kept, paths, shapes });
  }
  return { list, values };
}

/** The largest difference, of the largest value. */
function compareMaps(a, b) {
  let most = 0, apart = 0;
  for (let i = 0; i < b.length; i++) {
    most = Math.max(most, Math.abs(b[i]));
    apart = Math.max(apart, Math.abs(a[i] - b[i]));
  }
  return a.length === b.length ? apart / Math.max(1, most) : Infinity;
}
