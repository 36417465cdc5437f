// One room of Node's socket.io for the bench: everybody joins it on connect.
import { createServer } from "node:http";
import { Server } from "socket.io";

const flag = process.argv.indexOf("-addr");
const [host, port] = (flag > 0 ? process.argv[flag + 1] : "127.0.0.1:0").split(":");

const room = !process.argv.includes("-noroom");

const http = createServer();
const io = new Server(http);

io.on("connection", (socket) => {
  if (room) socket.join("bench");
  socket.on("msg", (text) => io.to("bench").emit("msg", text));
});

http.listen(Number(port), host, () => {
  console.log(`listening ${host}:${http.address().port}`);
});
