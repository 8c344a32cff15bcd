// What scrolls sideways can be reached by the keyboard.
window.addEventListener("load", () =>
  requestAnimationFrame(() => {
    const wide = ".md-typeset__scrollwrap, .md-typeset pre > code"
    document.querySelectorAll(wide).forEach((part) => part.setAttribute("tabindex", "0"))
  })
)
