// A value that flies from where it was made to its cell.

const LONGEST = 450; // milliseconds

/** Shows `from`'s number on its way to `to`, which shows its own when it has come; for nobody who wants stillness. */
export function flyValue(from, to, longest = LONGEST) {
  if (!from || !to || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const [start, end] = [from, to].map((element) => element.getBoundingClientRect());
  const flying = document.createElement("span");
  flying.className = "flying";
  flying.textContent = to.textContent;
  flying.setAttribute("aria-hidden", "true");
  Object.assign(flying.style, { left: `${end.left + end.width / 2}px`, top: `${end.top + end.height / 2}px` });
  document.body.append(flying);
  const way = [start.left + start.width / 2 - end.left - end.width / 2, start.top - end.top];
  const timing = { duration: Math.min(LONGEST, longest), easing: "cubic-bezier(.3, 0, .2, 1)" };
  to.animate([{ color: "transparent" }, { color: "transparent" }], timing);
  flying.animate(
    [{ translate: `calc(-50% + ${way[0]}px) calc(-50% + ${way[1]}px)` }, { translate: "-50% -50%" }],
    timing,
  ).onfinish = () => flying.remove();
}
