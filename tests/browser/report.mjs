// Tests pages from `gguf report` in a browser: nothing is loaded, nothing fails, the accessibility rules that
// axe-core can check hold, and the keyboard is sufficient. With --shots FOLDER it also takes screenshots.
//
//     npm install --prefix FOLDER playwright-core@1.65.1 axe-core@4.14.1   # and Debian's chromium
//     NODE_PATH=FOLDER/node_modules node tests/browser/report.mjs PAGE.html…
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const pages = process.argv.slice(2);
const shots = pages[0] === "--shots" ? pages.splice(0, 2)[1] : null;
assert(pages.length > 0, "give it the pages");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

// A page, with its requests and its errors.
async function open(file, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const troubles = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && troubles.push(message.text()));
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("dialog", (dialog) => { troubles.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (!request.url().startsWith("data:") && request.url().split("#")[0] !== file) troubles.push(`loads ${request.url()}`);
  });
  await page.goto(file);
  return { page, troubles, close: () => context.close() };
}

const focused = (page) => page.evaluate(() => {
  const at = document.activeElement;
  return { tag: at.tagName.toLowerCase(), name: at.getAttribute("aria-label") ?? at.textContent.trim(), id: at.id };
});

async function accessible(page, what) {
  // The page's own policy blocks foreign scripts; those of the debugger are allowed.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  const shown = violations.map((v) => `${v.id} (${v.impact}): ${v.help}\n  ${v.nodes.slice(0, 3).map((n) => n.html).join("\n  ")}`);
  assert.equal(violations.length, 0, `${what}:\n${shown.join("\n")}`);
}

async function keyboard(page) {
  await page.keyboard.press("Tab");
  assert.match((await focused(page)).name, /^Skip to the report/);
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => location.hash), "#main");

  // The tiles are one tab stop. Arrow keys move between them, and the line below describes the current one.
  const tiles = await page.locator("svg.tiles a.tile").count();
  assert.equal(await page.locator("svg.tiles a.tile[tabindex='0']").count(), Math.min(tiles, 1));
  if (tiles > 1) {
    const stops = [];
    for (let i = 0; i < 40 && !(await page.evaluate(() => document.activeElement.matches("a.tile"))); i++) {
      await page.keyboard.press("Tab");
      stops.push((await focused(page)).name);
    }
    const first = (await focused(page)).name;
    assert(await page.evaluate(() => document.activeElement.matches("a.tile")), `no tile among ${stops.join(", ")}`);
    assert.equal(await page.locator("#treemap .readout").textContent(), first);
    await page.keyboard.press("End");
    const last = (await focused(page)).name;
    assert.notEqual(last, first);
    assert.equal(await page.locator("#treemap .readout").textContent(), last);
    for (const way of ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"]) await page.keyboard.press(way);
    assert(await page.evaluate(() => document.activeElement.matches("a.tile")));
    await page.keyboard.press("Home");
    assert.equal((await focused(page)).name, first);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement.matches("tr, section"));
  }

  // Sorting by number and by name, and back.
  const table = page.locator("table.sortable");
  const cells = (column) => table.locator(`tbody tr > :nth-child(${column})`).evaluateAll(
    (all) => all.map((cell) => cell.dataset.by === undefined ? cell.textContent : Number(cell.dataset.by)));
  const bytes = table.locator("thead th").nth(3).locator("button");
  await bytes.focus();
  await page.keyboard.press("Enter");
  assert.equal(await table.locator("thead th").nth(3).getAttribute("aria-sort"), "ascending");
  const up = await cells(4);
  assert.deepEqual(up, [...up].sort((a, b) => a - b));
  await page.keyboard.press("Space");
  assert.equal(await table.locator("thead th").nth(3).getAttribute("aria-sort"), "descending");
  const down = await cells(4);
  assert.deepEqual(down, [...up].reverse());

  // Filtering.
  const names = await cells(1);
  if (names.length > 1) {
    await page.getByLabel("Show names with").fill(names[0]);
    assert.equal(await table.locator("tbody tr:visible").count(), names.filter((n) => n.toLowerCase().includes(names[0].toLowerCase())).length);
    await page.getByLabel("Show names with").fill("");
    assert.equal(await table.locator("tbody tr:visible").count(), names.length);
  }
}

for (const path of pages) {
  const file = pathToFileURL(resolve(path)).href;
  for (const colorScheme of ["light", "dark"]) {
    const { page, troubles, close } = await open(file, { colorScheme });
    await accessible(page, `${path}, ${colorScheme}`);
    // The same with everything opened.
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
    await accessible(page, `${path}, ${colorScheme}, all open`);
    assert.deepEqual(troubles, [], path);
    await close();
  }
  const { page, troubles, close } = await open(file, { reducedMotion: "reduce" });
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior), "auto");
  await keyboard(page);
  assert.deepEqual(troubles, [], path);
  if (shots) await page.screenshot({ path: `${shots}/report.png` });
  await close();

  // On a narrow screen, the page itself does not scroll sideways. Without the script, only the script's own features are missing.
  const narrow = await open(file, { viewport: { width: 360, height: 740 }, javaScriptEnabled: true });
  const [scroll, width] = await narrow.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert(scroll <= width, `${path}: ${scroll} wide in a window of ${width}`);
  await narrow.close();
  const plain = await open(file, { javaScriptEnabled: false });
  assert.equal(await plain.page.locator(".script:visible").count(), 0);
  assert(await plain.page.locator("table.sortable tbody").isVisible());
  assert.deepEqual(plain.troubles, [], path);
  await plain.close();
  console.log(`${path}: nothing loaded, no violation in light and dark, keyboard and narrow windows work`);
}
await browser.close();
