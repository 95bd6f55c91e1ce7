"""The style sheet of the page: one column, system fonts, room to breathe, fit for paper."""

CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #222;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; padding-top: 1.1rem;
  border-top: 1px solid #ddd; }
p, ul { max-width: 44rem; margin: .5rem 0; }
.lead { font-size: 1.08rem; color: #333; }
.banner { max-width: none; margin: 1rem 0; padding: .6rem .9rem; background: #fff4e5;
  border-left: 4px solid #d55e00; }
.facts { display: flex; flex-wrap: wrap; gap: .35rem 1.6rem; margin: 1rem 0; }
.facts dt { font-size: .78rem; color: #666; }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th { text-align: left; font-weight: 600; border-bottom: 1.5px solid #222; }
th, td { padding: .22rem .9rem .22rem 0; vertical-align: top; }
th { vertical-align: bottom; }
td { border-bottom: 1px solid #eee; }
.num { text-align: right; }
.long { min-width: 11rem; }
.note { font-size: .85rem; color: #555; }
figure { margin: 1.4rem 0 2rem; }
figure svg { display: block; }
figcaption { max-width: 44rem; font-size: .9rem; color: #333; margin-top: .5rem; }
details { margin-top: .4rem; font-size: .88rem; }
summary { cursor: pointer; color: #0062a3; }
a { color: #0062a3; }
pre { font-size: .8rem; line-height: 1.45; background: #f7f7f7; padding: 1rem;
  overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  main { padding: 1.2rem .9rem 3rem; }
  h1 { font-size: 1.5rem; }
  .long { min-width: 0; }
  /* a row that would be cut off becomes a list of its cells */
  table.stacks, .stacks caption, .stacks tbody, .stacks tr, .stacks td { display: block; }
  .stacks thead { display: none; }
  .stacks tr { border-bottom: 1.5px solid #222; padding: .4rem 0; }
  .stacks td { text-align: left; border: 0; padding: .1rem 0; overflow-wrap: anywhere; }
  .stacks td::before { content: attr(data-name) ": "; color: #666; }
  .stacks td:first-child { font-weight: 600; }
  .stacks td:first-child::before { content: ""; }
}
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; }
  figure svg { min-width: 0 !important; }
  table { font-size: 8.5pt; }
  th, td { padding-right: .6rem; }
  h2 { break-after: avoid; }
  .wide { overflow: visible; }
  figure details { display: none; }
}
"""
