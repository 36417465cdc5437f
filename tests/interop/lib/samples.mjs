// What is sent around.

// texts come apart when a layer mistakes bytes, UTF-16 units and characters for one another.
export const texts = [
  "plain",
  "grüße, déjà vu",
  "Ã¼ and â‚¬ as they are",
  "日本語のテキスト",
  "Привет, мир",
  "שלום עולם مرحبا",
  "💬👩‍👩‍👧‍👦🇩🇪",
  "𝔞𝔰𝔱𝔯𝔞𝔩 \u{10ffff}",
  "line\nbreak\ttab \u0000 \u001e \u2028 \\ \"quoted\" </script>",
  "é".repeat(5000) + "語".repeat(5000) + "💬".repeat(5000),
];

// shapes are lists of arguments.
export const shapes = [
  [],
  [null],
  [true, false],
  [0, -1, 1.5, 1e-7, 123456789012],
  ["", "text"],
  [[], {}],
  [{ a: { b: [1, { c: null }] }, "ключ": "значение", "": 0 }],
  [1, "2", { 3: [true] }, [[["deep"]]]],
  ["a,b", "x]y", "{", "]"],
  [{ _placeholder: "not one", num: 1 }],
  ...texts.map((text) => [text, { [text.slice(0, 20)]: text }]),
];
