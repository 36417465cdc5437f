// A TCP proxy whose connections can be cut and stalled.
import { connect, createServer } from "node:net";
import { once } from "node:events";

// startProxy forwards to target.port, asked at each connection. cut ends what is connected and lets nobody in until mend. stall lets
// through nothing more of what the target says, and reads no more of it, until flow.
export async function startProxy(target) {
  const pairs = new Set();
  let open = true;
  let stalled = false;
  const server = createServer((near) => {
    if (!open) return near.destroy();
    const far = connect(target.port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    const end = () => (near.destroy(), far.destroy(), pairs.delete(pair));
    for (const side of pair) side.on("error", end).on("close", end);
    near.pipe(far);
    if (!stalled) far.pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const drop = () => pairs.forEach((pair) => pair.forEach((side) => side.destroy()));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => ((open = false), drop()),
    mend: () => (open = true),
    stall: () => {
      stalled = true;
      for (const [near, far] of pairs) far.unpipe(near).pause();
    },
    flow: () => {
      if (!stalled) return;
      stalled = false;
      for (const [near, far] of pairs) far.pipe(near);
    },
    stop: () => (drop(), server.close()),
  };
}
