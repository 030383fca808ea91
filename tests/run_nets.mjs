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
    const maps = [...all.maps].map(([path, { shape, data }]) => ({ path, shape, length: add(data) }));
    const [output, once, twice] = [all.output, last.output, again.output].map(add);
    const shapes = [...network.shapes];
    list.push({ kernel: network.kernel, maps, output, same: once === twice && once === output, shapes });
  }
  return { list, values };
}
