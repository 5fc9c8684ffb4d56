// Whoever searches for a message pastes it with names and paths of their own, which no page has. Sphinx
// finds only pages with all words of a query; where there is none, show those with the most of them.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return; // Every page but the search page.
  const withAllWords = Search.performTermsSearch;
  Search.performTermsSearch = (words, excluded) => {
    const found = withAllWords(words, excluded);
    if (found.length || words.size < 4) return found;
    const pages = new Map();
    for (const word of words) {
      for (const result of withAllWords(new Set([word]), excluded)) {
        const [page, title, anchor, text, , file, kind] = result;
        const count = pages.has(page) ? pages.get(page)[4] + 1 : 1;
        pages.set(page, [page, title, anchor, text, count, file, kind]);
      }
    }
    const most = Math.max(0, ...[...pages.values()].map((result) => result[4]));
    return [...pages.values()].filter((result) => result[4] > 0.7 * most);
  };
});
