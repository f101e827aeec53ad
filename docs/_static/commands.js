// A long command wraps between its words: browsers break "--option" behind a hyphen otherwise.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".highlight-none pre").forEach((block) => {
    [...block.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).forEach((text) => {
      const parts = text.data.split(/(\S*-\S*)/).map((part, i) => {
        if (i % 2 === 0) return part;
        const word = document.createElement("span");
        word.className = "word";
        word.textContent = part;
        return word;
      });
      text.replaceWith(...parts);
    });
  });
  document.querySelectorAll("article code .pre").forEach((word) => {
    if (word.textContent.startsWith("--")) word.classList.add("option");
  });
});
