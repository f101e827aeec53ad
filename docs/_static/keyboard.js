// What the theme leaves out for keyboards and screen readers.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("pre, .table-wrapper").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; // so that arrow keys move it
  });
  document.querySelectorAll("p.caption[role=heading]").forEach((caption) => caption.setAttribute("aria-level", "2"));
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "All pages");
  document.querySelectorAll(".sphx-glr-thumbcontainer").forEach((card) => {
    const title = card.querySelector(".sphx-glr-thumbnail-title");
    card.querySelectorAll("a").forEach((link) => title && link.setAttribute("aria-label", title.textContent));
  });
});
