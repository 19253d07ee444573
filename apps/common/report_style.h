// The style sheet of report pages, for screens of any width, light and dark, and paper.
// Colours: c0..c7 are Okabe and Ito's, h0..h7 ColorBrewer's YlGnBu (viridis in the dark): safe for colour-blind
// readers; the heat map's lightness falls (rises) evenly, so that it survives a black-and-white printer.
#pragma once

namespace switchyard {

constexpr const char* kReportStyle = R"(
:root{--bg:#fff;--ink:#1c2024;--soft:#5c656e;--line:#dfe3e7;--best:#e8f3ec;color-scheme:light}
.c0{--c:#0072b2}.c1{--c:#d55e00}.c2{--c:#009e73}.c3{--c:#b8609b}
.c4{--c:#c98a00}.c5{--c:#3fa3dc}.c6{--c:#5b5b5b}.c7{--c:#7a4fbf}
.h0{--c:#fbfbd8}.h1{--c:#e2f4b5}.h2{--c:#b9e3b6}.h3{--c:#7fcdbb}
.h4{--c:#41b0c4}.h5{--c:#1f86bd}.h6{--c:#2450a2}.h7{--c:#0c2266}
@media screen and (prefers-color-scheme:dark){
:root{--bg:#14171a;--ink:#e6e9ec;--soft:#9aa4ae;--line:#30363c;--best:#1d3527;color-scheme:dark}
.c0{--c:#56b4e9}.c1{--c:#ff8a45}.c2{--c:#3ecba0}.c3{--c:#e39ac8}
.c4{--c:#f0c04f}.c5{--c:#9fd3f5}.c6{--c:#b9b9b9}.c7{--c:#b79cf0}
.h0{--c:#30184a}.h1{--c:#433a80}.h2{--c:#365c8d}.h3{--c:#277f8e}
.h4{--c:#1fa187}.h5{--c:#4ac16d}.h6{--c:#a0da39}.h7{--c:#fde725}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:20px 16px 40px;background:var(--bg);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:25px;margin:0 0 2px;overflow-wrap:anywhere}
h2{font-size:19px;margin:34px 0 10px;padding-top:14px;border-top:1px solid var(--line)}
h3{font-size:15px;margin:22px 0 8px}
p{margin:4px 0 10px;color:var(--soft);max-width:90ch}
.grid{display:grid;gap:22px 26px;
grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr))}
figure{margin:0;min-width:0;break-inside:avoid}figcaption{font-weight:600}
figcaption span,small{font-weight:400;font-size:13px;color:var(--soft)}
svg{display:block;width:100%;height:auto;max-width:520px}
text{font:11.5px system-ui,sans-serif;fill:var(--soft)}.y{text-anchor:end}.x{text-anchor:middle}
.rule{stroke:var(--line)}.stratum{stroke:var(--bg);stroke-width:2}
.curve{stroke:var(--c);stroke-width:1.7;fill:none;stroke-linejoin:round;stroke-linecap:round}
.dash{stroke-dasharray:5 4}.thin{stroke-width:1;opacity:.65}.dot{stroke-width:5;stroke-dasharray:0}
.curve.area{fill:var(--c);stroke:none}.cells{stroke:var(--c);stroke-width:1.03}
.key{display:flex;flex-wrap:wrap;gap:2px 14px;list-style:none;margin:2px 0;padding:0;font-size:13px}
.key li{max-width:100%;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.key i,h2 i,th i{display:inline-block;width:14px;height:4px;border-radius:2px;margin-right:6px;
vertical-align:3px;background:var(--c)}
.dash i{background:linear-gradient(90deg,var(--c) 40%,#0000 40% 60%,var(--c) 60%)!important}
.scale{gap:0;flex-wrap:nowrap;margin:0 0 12px;font-size:12px;color:var(--soft);break-after:avoid}
.scale li{flex:0 1 62px}.scale i{display:block;width:100%;height:12px;border-radius:0;margin:0}
.wide{overflow-x:auto}
table{border-spacing:0;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:right;max-width:60ch;
white-space:nowrap;overflow:hidden;text-overflow:ellipsis}th{font-weight:600;color:var(--soft)}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--bg);
max-width:46vw}
td{border-top:1px solid var(--line)}td.best{font-weight:700;background:var(--best)}
td.bar{min-width:56px}td.bar i{display:block;height:9px;background:var(--c)}
.tables{display:flex;flex-wrap:wrap;gap:0 48px;align-items:flex-start}.tables>*{max-width:100%}
summary{cursor:pointer;color:var(--soft);margin:22px 0 8px}
@media(max-width:500px){table{font-size:12.5px}th,td{padding-right:8px}th i{margin-right:4px}
th{white-space:normal}}
@media print{@page{margin:12mm}body{max-width:none;padding:0;font-size:11px}
.grid{grid-template-columns:1fr 1fr;gap:14px 24px}h2,h3{break-after:avoid}tr{break-inside:avoid}
table,.key,small,figcaption span{font-size:10px}.wide{overflow:visible}
th:first-child,td:first-child{position:static}th,td{padding-right:8px}
th{white-space:normal;overflow-wrap:anywhere}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)";

}  // namespace switchyard
