// What a page knows of one room's log.
export class Room {
  constructor(name) {
    this.name = name;
    this.boot = ""; // of a server whose log does not outlive it, see peer/
    this.last = 0; // every entry up to here is known
    this.beyond = new Set(); // what is known after a hole
    this.joined = false; // in this session
    this.caughtUp = false; // in this session
    this.repairing = false;
    this.users = new Set(); // who is there, by what the page has been told
  }

  // startAnew forgets the log of a server that has forgotten it itself.
  startAnew(boot) {
    if (boot === this.boot) return;
    this.boot = boot;
    this.last = 0;
    this.beyond.clear();
  }

  add(seq) {
    if (seq > this.last) this.beyond.add(seq);
    while (this.beyond.delete(this.last + 1)) this.last++;
  }

  // hole is the first missing range, if there is one.
  hole() {
    if (this.beyond.size === 0) return undefined;
    return { from: this.last + 1, to: Math.min(...this.beyond) - 1 };
  }
}
