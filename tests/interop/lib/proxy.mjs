// A TCP proxy whose connections can be cut.
import { connect, createServer } from "node:net";
import { once } from "node:events";

// startProxy forwards to target.port, asked at each connection. cut ends what is connected and lets nobody in until mend.
export async function startProxy(target) {
  const pairs = new Set();
  let open = true;
  const server = createServer((near) => {
    if (!open) return near.destroy();
    const far = connect(target.port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    const end = () => (near.destroy(), far.destroy(), pairs.delete(pair));
    for (const side of pair) side.on("error", end).on("close", end);
    near.pipe(far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const drop = () => pairs.forEach((pair) => pair.forEach((side) => side.destroy()));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => ((open = false), drop()),
    mend: () => (open = true),
    stop: () => (drop(), server.close()),
  };
}
