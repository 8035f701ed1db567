// Walks through the console in a real browser, and looks at every page as people see it: dark and
// light, on a narrow and a wide screen. What is wrong is written as lines of JSON, one each; the last
// line says what was seen.
//
//   WEIRGATE_TEST_BROWSER   folder with node_modules (browser.sh install)
//   CHROMIUM                the browser
//   CONSOLE, SETUP          its URL, and the link of the first administrator, both under a name: there
//                           are no passkeys for addresses
//   GATEWAY, KEY, STRANGER  the URL of a connection, a key with a grant there, and one without
//   ISSUER                  an identity provider that is another site; empty where there is none
//   SHOTS                   folder for pictures; none are made without it
import { createHmac } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { CHROMIUM, CONSOLE, GATEWAY, ISSUER, KEY, SETUP, SHOTS, STRANGER } = process.env;
const folder = process.env.WEIRGATE_TEST_BROWSER;
const needs = createRequire(join(folder, "package.json"));
const { chromium } = needs("playwright-core");
const axe = readFileSync(needs.resolve("axe-core/axe.min.js"), "utf8");

const PASSWORD = "seven herons wade upstream";
const ADA = "ada.lovelace@example.com";
const BOB = "bob.marlowe@example.com";
const EVE = "eve.dunmore@example.com";
const STEP_SECONDS = 30;

const seen = [];
let problems = 0;
function problem(what) {
  problems += 1;
  console.log(JSON.stringify(what));
}
function check(is, what) {
  if (!is) problem({ what });
}

/** An authenticator app (RFC 6238); each step's code counts once. */
class App {
  constructor(spelled) {
    let bits = "";
    for (const letter of spelled.replaceAll(" ", "")) {
      bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0");
    }
    this.key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
    this.used = 0;
  }

  async code() {
    const now = () => Math.floor(Date.now() / 1000 / STEP_SECONDS);
    const step = Math.max(now(), this.used + 1);
    // The server takes the step after this one, too.
    while (now() + 1 < step) await new Promise((done) => setTimeout(done, 500));
    this.used = step;
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(step));
    const mac = createHmac("sha1", this.key).update(counter).digest();
    const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
    return String(number % 1_000_000).padStart(6, "0");
  }
}

/** A person's browser, whose complaints are problems. */
async function visitor(browser) {
  const context = await browser.newContext({ locale: "en" });
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    // A refusal is an answer of a page's form, not a defect.
    const isStatus = message.text().startsWith("Failed to load resource: the server responded");
    if (["error", "warning"].includes(message.type()) && !isStatus) {
      problem({ page: page.url(), console: message.text() });
    }
  });
  page.on("pageerror", (error) => problem({ page: page.url(), error: String(error) }));
  return page;
}

/** Looks at what is shown now. */
async function look(page, name) {
  seen.push(name);
  const text = await page.evaluate("document.body.innerText");
  check(!text.includes("`"), `${name} has marks for a terminal`);
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [320, 1280]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 800 });
      const found = await page.evaluate(`${axe};axe.run(document, { resultTypes: ["violations"],
        runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
        "best-practice"] } }).then(({ violations }) => violations.map((one) => ({ rule: one.id,
        nodes: one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)) })))`);
      for (const violation of found) problem({ name, colorScheme, width, ...violation });
      const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      if (wide > 0) problem({ name, width, what: `the page is ${wide} px wider than the screen` });
      const hidden = await page.evaluate(`[...document.querySelectorAll(".table")]
        .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.ariaLabel)`);
      for (const table of hidden) problem({ name, width, what: `part of ${table} is out of sight` });
      if (SHOTS) {
        const path = join(SHOTS, `${name}-${colorScheme}-${width}.png`);
        await page.screenshot({ path, fullPage: true });
      }
    }
  }
}

async function press(page, name) {
  await Promise.all([
    page.waitForNavigation(),
    page.getByRole("button", { name, exact: true }).first().click(),
  ]);
}

async function fill(page, fields) {
  for (const [label, text] of Object.entries(fields)) {
    await page.getByLabel(label, { exact: true }).last().fill(text);
  }
}

/** Goes to a page by the keyboard alone: tab by tab until the link has the focus. */
async function byKeyboard(page, name) {
  for (let tab = 0; tab < 40; tab += 1) {
    await page.keyboard.press("Tab");
    const text = await page.evaluate("document.activeElement?.textContent?.trim()");
    if (text === name) {
      await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
      return;
    }
  }
  problem({ page: page.url(), what: `${name} is not reached by the keyboard` });
}

async function enrol(page, who) {
  await look(page, `enrol-${who}`);
  await press(page, "Show the key");
  const app = new App(await page.locator(".code").innerText());
  await look(page, `enrol-key-${who}`);
  await fill(page, { "Name of the app or device": "phone", Code: "00000x" });
  await press(page, "Enrol");
  await look(page, `enrol-wrong-${who}`);
  await fill(page, { Code: await app.code() });
  await press(page, "Enrol");
  await look(page, `recovery-codes-${who}`);
  const codes = await page.locator("li.code").allInnerTexts();
  check(codes.length === 10, `there are ${codes.length} recovery codes`);
  await Promise.all([page.waitForNavigation(), page.getByRole("link", { name: /go on/ }).click()]);
  return { app, codes };
}

async function signIn(page, address, password) {
  await fill(page, { "E-mail address": address, Password: password });
  await press(page, "Go on");
}

async function walk(browser) {
  const ada = await visitor(browser);
  await ada.goto(`${CONSOLE}/`);
  check(ada.url() === `${CONSOLE}/sign-in`, "nobody is led to the sign-in");
  await ada.goto(SETUP);
  await look(ada, "setup");
  await fill(ada, { "E-mail address": ADA, Name: "Ada", Password: "password1234" });
  await press(ada, "Go on");
  await look(ada, "setup-refused");
  await fill(ada, { "E-mail address": ADA, Name: "Ada", Password: PASSWORD });
  await press(ada, "Go on");
  const own = await enrol(ada, "first");
  check(ada.url() === `${CONSOLE}/`, "enrolment leads home");

  await look(ada, "home-no-calls");
  await ada.goto(`${CONSOLE}/calls`);
  await look(ada, "calls-none");
  await followed(ada);
  for (const name of ["Home", "Calls", "Providers", "Connections", "Clients", "Audit", "People", "Settings", "Account"]) {
    await byKeyboard(ada, name);
    await look(ada, name.toLowerCase());
  }
  await ada.goto(`${CONSOLE}/audit?text=provider.import`);
  await ada.getByText("All of entry").first().click();
  await look(ada, "audit-filtered");
  await ada.goto(`${CONSOLE}/audit?text=nothing-has-this-in-it`);
  await look(ada, "audit-empty");
  await ada.goto(`${CONSOLE}/audit?kind=everything&outcome=perhaps`);
  await look(ada, "audit-not-understood");
  await ada.goto(`${CONSOLE}/no-such-page`);
  await look(ada, "not-found");
  await ada.goto(SETUP);
  await look(ada, "link-used");

  const invitation = await invite(ada, BOB, "auditor");
  await look(ada, "invited");
  await passkeyFirst(browser, await invite(ada, EVE, "read-only"));

  const bob = await visitor(browser);
  await bob.goto(invitation);
  await look(bob, "invitation");
  await fill(bob, { Name: "Bob", Password: PASSWORD });
  await press(bob, "Go on");
  const bobs = await enrol(bob, "second");
  await look(bob, "home-auditor");
  await bob.goto(`${CONSOLE}/users`);
  await look(bob, "people-auditor");
  check((await bob.getByRole("button", { name: "Invite" }).count()) === 0, "an auditor may invite");

  await auditing(bob);
  await bob.goto(`${CONSOLE}/advice`);
  await look(bob, "advice");
  await bob.getByLabel("Days to look back").fill("never");
  await press(bob, "Look");
  await look(bob, "advice-no-days");
  await bob.goto(`${CONSOLE}/rules`);
  await look(bob, "rules");
  await bob.getByLabel("Person").selectOption({ label: BOB });
  await bob.getByLabel("Act", { exact: true }).selectOption("session.read");
  await press(bob, "Ask");
  await look(bob, "rules-one-act");
  check((await bob.getByText("policy office-hours").count()) === 1, "no policy is named");
  await bob.getByLabel("Act", { exact: true }).selectOption("");
  await bob.getByLabel("From this address").fill("here");
  await press(bob, "Ask");
  await look(bob, "rules-no-address");
  await bob.getByLabel("From this address").fill("");
  await press(bob, "Ask");
  await look(bob, "rules-all-acts");

  await bob.goto(`${CONSOLE}/grants`);
  await look(bob, "grants-auditor");
  await Promise.all([bob.waitForNavigation(), bob.getByRole("link", { name: /^Look/ }).first().click()]);
  await look(bob, "grant-auditor");
  check((await bob.getByRole("button", { name: /what it would do/ }).count()) === 0, "it may change");

  await byTwo(browser, ada);
  await byAddress(browser, bobs.app);

  await press(ada, "Sign out");
  check(ada.url() === `${CONSOLE}/sign-in`, "signing out leads to the sign-in");
  await look(ada, "sign-in");
  await signIn(ada, ADA, "another password of mine");
  await look(ada, "sign-in-refused");
  await signIn(ada, ADA, PASSWORD);
  await look(ada, "factor");
  await fill(ada, { Code: "000000" });
  await press(ada, "Go on");
  await look(ada, "factor-refused");
  await fill(ada, { Code: await own.app.code() });
  await press(ada, "Go on");
  check(ada.url() === `${CONSOLE}/`, "a code lets in");
  await press(ada, "Sign out");
  await signIn(ada, ADA, PASSWORD);
  await fill(ada, { Code: own.codes[0] });
  await press(ada, "Go on");
  check(ada.url() === `${CONSOLE}/`, "a recovery code lets in");

  await bob.goto(`${CONSOLE}/calls`);
  await look(bob, "calls");
  await ada.goto(`${CONSOLE}/step-up?to=/users`);
  await look(ada, "step-up");
  await fill(ada, { Code: "000000" });
  await press(ada, "Go on");
  await look(ada, "step-up-refused");
  await fill(ada, { Code: await own.app.code() });
  await press(ada, "Go on");
  check(ada.url() === `${CONSOLE}/users`, "a step-up leads back");
  await press(ada, `Disable ${BOB}`);
  await look(ada, "people-disabled");
  await bob.getByText("You are signed out: sign in to follow calls.").waitFor();
  await look(bob, "calls-signed-out");
  await bob.goto(`${CONSOLE}/audit`);
  check(bob.url() === `${CONSOLE}/sign-in`, "somebody disabled is still in");
  await signIn(bob, BOB, PASSWORD);
  check(bob.url() === `${CONSOLE}/sign-in`, "somebody disabled came in");

  if (ISSUER) await connecting(ada);

  await ada.goto(`${CONSOLE}/account`);
  await fill(ada, { Name: "report", Roles: "read-only", Days: "7" });
  await press(ada, "Make a token");
  await look(ada, "account-token-refused");
  await fill(ada, { Name: "report", Roles: "administrator", Days: "7" });
  await press(ada, "Make a token");
  await look(ada, "account-token");
  check((await ada.getByRole("status").count()) === 1, "no token is shown");
  await fill(ada, { "The password that you have": "not the one before", "A new one": PASSWORD });
  await press(ada, "Change the password");
  await look(ada, "account-password-refused");
  await press(ada, "Add an authenticator app");
  await look(ada, "account-second-app");
  await passkeys(ada);
  await withoutScript(browser, own);
  if (ISSUER) {
    await bySso(browser);
    await linked(ada, own);
  }
}

/** To a provider that somebody consents at, and back to what is to be confirmed. */
async function consents(page) {
  await page.getByRole("link", { name: "Go to cloud" }).click();
  await page.getByRole("heading", { level: 1, name: "Confirm what came back" }).waitFor();
  check(!page.url().includes("code="), `the code is in the address: ${page.url()}`);
}

/** A customer is connected by consent, which is withdrawn, refused, and given anew. */
async function connecting(page) {
  await page.goto(`${CONSOLE}/connections`);
  await look(page, "connections");
  await page.getByRole("link", { name: "Connect a customer by consent" }).click();
  await look(page, "connection-new");
  await page.getByLabel("Provider", { exact: true }).selectOption("things");
  await fill(page, { Customer: "Globex" });
  await press(page, "See what will be asked for");
  await look(page, "connection-new-refused");
  await page.getByLabel("Provider", { exact: true }).selectOption("cloud");
  await press(page, "See what will be asked for");
  await look(page, "connect-asked");
  await consents(page);
  await look(page, "connect-confirm");
  await press(page, "Confirm");
  check(page.url().startsWith(`${CONSOLE}/connections/conn_`), `connected: ${page.url()}`);
  await look(page, "connection");
  const connection = page.url();
  await page.goBack();
  check(!page.url().includes("code="), `the code is in the history: ${page.url()}`);
  await page.goto(connection);
  await press(page, "Withdraw the consent");
  check((await page.getByRole("status").innerText()).includes("was told"), "nobody was told");
  await page.goto(connection);
  await look(page, "connection-consent-ended");
  await press(page, "Reconnect");
  // The provider remembers who was let in.
  await page.context().clearCookies({ domain: "127.0.0.1" });
  await say({ refuses: true });
  await page.getByRole("link", { name: "Go to cloud" }).click();
  await page.getByRole("heading", { level: 1, name: "It could not be done" }).waitFor();
  await look(page, "connect-refused");
  await say({ refuses: false });
  await page.goto(connection);
  await press(page, "Reconnect");
  await consents(page);
  await press(page, "Confirm");
  check(page.url() === connection, `connected anew: ${page.url()}`);
  await look(page, "connection-anew");
}

/** What an auditor does with the log: all by plain forms. */
async function auditing(bob) {
  await bob.goto(`${CONSOLE}/audit`);
  await bob.waitForFunction(async () => {
    if (document.querySelector(".good-seal")) return true;
    location.reload();
    return false;
  }, undefined, { polling: 1000 });
  check(await bob.getByRole("heading", { name: "Verified", exact: true }).isVisible(), "no badge");
  await bob.locator(".seal summary").click();
  await look(bob, "audit-verified");
  await bob.getByText("By kind, person, key").click();
  await bob.getByLabel("Kind", { exact: true }).selectOption("changed");
  await fill(bob, { Act: "user" });
  await press(bob, "Filter");
  check(bob.url() === `${CONSOLE}/audit?kind=changed&verb=user`, `a filter leads to ${bob.url()}`);
  await fill(bob, { "Name of the view": "what was done with people" });
  await press(bob, "Keep it");
  await look(bob, "audit-view-kept");
  await bob.goto(`${CONSOLE}/audit`);
  await follow(bob, "what was done with people");
  check(bob.url() === `${CONSOLE}/audit?kind=changed&verb=user`, `a view leads to ${bob.url()}`);
  await fill(bob, { "Name of the view": " " });
  await press(bob, "Keep it");
  await look(bob, "audit-view-refused");
  await bob.goto(`${CONSOLE}/audit?kind=changed&verb=user`);
  await bob.locator("td a").first().click();
  await bob.waitForURL(/entries/);
  await look(bob, "audit-entry");
  await bob.goto(`${CONSOLE}/audit/activity`);
  await look(bob, "audit-activity");
  await bob.goto(`${CONSOLE}/audit/activity?kind=nothing`);
  await look(bob, "audit-activity-not-understood");
  await bob.goto(`${CONSOLE}/audit`);
  const [file] = await Promise.all([
    bob.waitForEvent("download"),
    bob.getByRole("button", { name: "Export", exact: true }).click(),
  ]);
  const text = readFileSync(await file.path(), "utf8");
  check(text.startsWith("weirgate-audit-export@v1\n"), "the export is no bundle");
  check(/^weirgate-audit-0\.txt$/.test(file.suggestedFilename()), file.suggestedFilename());
  await bob.getByLabel("From entry").fill("7");
  await bob.getByLabel("To before entry").fill("7");
  await press(bob, "Export");
  await look(bob, "audit-export-refused");
  await bob.goto(`${CONSOLE}/settings`);
  await look(bob, "settings-auditor");
}

async function follow(page, name) {
  const link = page.getByRole("link", { name, exact: true });
  await Promise.all([page.waitForNavigation(), link.click()]);
}

/** A program's call. */
async function call(path, key, method = "GET") {
  const answer = await fetch(`${GATEWAY}${path}`, { method, headers: { authorization: `Bearer ${key}` } });
  await answer.arrayBuffer();
  return answer.status;
}

/** Whatever script got into a page could not write HTML. Breaches are complaints, so in a page of its own. */
async function takesNoHtml(page) {
  const own = await page.context().newPage();
  await own.goto(`${CONSOLE}/account`);
  const isRefused = await own.evaluate(() => {
    try {
      document.createElement("p").innerHTML = "<b>x</b>";
      return false;
    } catch (error) {
      return error instanceof TypeError;
    }
  });
  check(isRefused, "a page takes HTML from a script");
  await own.close();
}

/** Calls as they end: while the page is open, paused, and after that each by itself. */
async function followed(page) {
  const rows = page.locator("#calls tbody tr");
  const count = async (wanted, what) => {
    await page.waitForFunction((n) => document.querySelectorAll("#calls tbody tr").length >= n, wanted);
    check((await rows.count()) === wanted, `${what}: ${await rows.count()} rows, not ${wanted}`);
  };
  await page.getByText("Following: 0 new.").waitFor();
  check((await call("/things/1", KEY)) === 200, "a call with a grant does not pass");
  await count(1, "a call that ends is shown");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Paused.").waitFor();
  check((await call("/things/1", STRANGER)) === 403, "a call without a grant passes");
  check((await call("/things/1", KEY)) === 200, "a second call does not pass");
  await page.waitForTimeout(1500);
  await count(1, "nothing moves while it is paused");
  await look(page, "calls-paused");
  await page.getByRole("button", { name: "Resume" }).click();
  await count(3, "what ended meanwhile is shown");
  await call("/things/1?sort=name", KEY);
  for (let n = 0; n < 20; n += 1) await call("/things", KEY);
  await count(24, "all are shown");
  await look(page, "calls-following");

  await takesNoHtml(page);
  await page.goto(`${CONSOLE}/`);
  check((await page.locator("#chart canvas").count()) === 1, "no chart is drawn");
  await page.getByText("By the hour, as a table").click();
  await look(page, "home-hours");
  await page.goto(`${CONSOLE}/calls`);
  await page.getByLabel("Outcome").selectOption("refused");
  await page.getByLabel("Client").selectOption("stranger");
  await press(page, "Show");
  await count(1, "one call of the stranger was refused");
  await look(page, "calls-filtered");
  await Promise.all([page.waitForNavigation(), rows.first().getByRole("link").first().click()]);
  await look(page, "call-refused");
  check(await page.getByRole("heading", { name: "What not_granted means" }).isVisible(), "no remedy");
  await page.goto(`${CONSOLE}/calls?end=answered`);
  await Promise.all([page.waitForNavigation(), rows.first().getByRole("link").first().click()]);
  await look(page, "call-answered");
  await page.goto(`${CONSOLE}/calls?code=nothing_has_this`);
  await look(page, "calls-none-fits");
  await page.goto(`${CONSOLE}/calls?connection=x`);
  await look(page, "calls-wrong-filter");
  await page.goto(`${CONSOLE}/calls/9999999`);
  await look(page, "call-unknown");
}

const say = (said) => fetch(`${ISSUER}/control`, { method: "POST", body: JSON.stringify(said) });

/** Follows a link that goes to the provider and back. */
async function throughProvider(page, name, to) {
  await page.getByRole("link", { name, exact: true }).click();
  await page.waitForURL(`${CONSOLE}${to}`);
}

/** In by an identity provider of another site, and a step-up there. */
async function bySso(browser) {
  const page = await visitor(browser);
  await page.goto(`${CONSOLE}/`);
  await look(page, "sign-in-sso");
  await throughProvider(page, "Sign in with corp", "/");
  await look(page, "home-sso");
  await page.goto(`${CONSOLE}/account`);
  await look(page, "account-sso");
  await fill(page, { Name: "report", Roles: "administrator", Days: "7" });
  await press(page, "Make a token");
  check(page.url() === `${CONSOLE}/step-up?to=/account`, `SSO is a step-up: ${page.url()}`);
  await look(page, "step-up-sso");
  await throughProvider(page, "Show a factor at corp", "/account");
  await fill(page, { Name: "report", Roles: "administrator", Days: "7" });
  await press(page, "Make a token");
  await look(page, "account-sso-token");
  check((await page.getByRole("status").count()) === 1, "a step-up by SSO makes no token");
  const cookies = await page.context().cookies();
  for (const cookie of cookies.filter(({ name }) => name.startsWith("__Host-"))) {
    check(cookie.secure && cookie.httpOnly, `${cookie.name} is open to others`);
    check(cookie.sameSite === "Strict", `${cookie.name} is ${cookie.sameSite}`);
  }
  // The page that came back from the provider, with its code, is not one that one goes back to.
  await page.goBack();
  check(!page.url().includes("code="), `the code is in the history: ${page.url()}`);
  await page.goto(`${CONSOLE}/`);
  await press(page, "Sign out");
  await say({ amr: ["pwd"] });
  await page.context().clearCookies();
  await page.goto(`${CONSOLE}/`);
  await page.getByRole("link", { name: "Sign in with corp" }).click();
  await page.getByRole("heading", { level: 1, name: "It could not be done" }).waitFor();
  await look(page, "sso-no-second-factor");
  await page.goto(`${CONSOLE}/sso-done`);
  await page.waitForURL(`${CONSOLE}/sign-in`);
  await say({ amr: ["mfa"] });
  await page.context().close();
}

/** Links an account of here to one of the provider. */
async function linked(ada, own) {
  await say({ account: "ada", groups: [] });
  await ada.goto(`${CONSOLE}/sign-in`);
  await signIn(ada, ADA, PASSWORD);
  await fill(ada, { Code: await own.app.code() });
  await press(ada, "Go on");
  await ada.goto(`${CONSOLE}/account`);
  await look(ada, "account-sso-linkable");
  await throughProvider(ada, "Sign in with corp too", "/account");
  await look(ada, "account-sso-linked");
  check((await ada.getByRole("button", { name: "Unlink corp" }).count()) === 1, "nothing is linked");
}

/** Narrows a grant, and opens what is sensitive with a second person. */
async function byTwo(browser, ada) {
  const people = [];
  for (const name of ["sam", "kim"]) {
    const page = await visitor(browser);
    await page.goto(await invite(ada, `${name}.reed@example.com`, "security"));
    await fill(page, { Name: name, Password: PASSWORD });
    await press(page, "Go on");
    await press(page, "Show the key");
    const app = new App(await page.locator(".code").innerText());
    await fill(page, { "Name of the app or device": "phone", Code: await app.code() });
    await press(page, "Enrol");
    people.push(page);
  }
  const [sam, kim] = people;
  const open = async () => {
    await sam.goto(`${CONSOLE}/grants`);
    await Promise.all([sam.waitForNavigation(), sam.getByRole("link", { name: /^Look or change/ }).first().click()]);
  };
  await open();
  await look(sam, "grant");
  const boxes = sam.getByRole("checkbox");
  const count = await boxes.count();
  for (let box = 0; box < count; box += 1) await boxes.nth(box).check();
  await press(sam, "See what it would do");
  await look(sam, "grant-effect-wider");
  await press(sam, "Propose it");
  await look(sam, "grants-proposed");
  check((await sam.getByRole("button", { name: /Approve/ }).count()) === 0, "one may approve oneself");
  await kim.goto(`${CONSOLE}/grants`);
  await look(kim, "grants-waiting");
  await kim.getByRole("button", { name: /^Approve/ }).click();
  await kim.getByText("Waiting for a second person").waitFor({ state: "detached" });
  await open();
  check(await sam.getByRole("checkbox").last().isChecked(), "what was approved is not in force");
  await sam.getByRole("checkbox").last().uncheck();
  await press(sam, "See what it would do");
  await look(sam, "grant-effect-narrower");
  await press(sam, "Save it");
  await look(sam, "grants");
  await open();
  await press(sam, "See what it would do");
  await look(sam, "grant-effect-none");
  await reviewed(sam, kim);
  await sam.goto(`${CONSOLE}/advice`);
  await look(sam, "advice-security");
  await sam.context().close();
  await kim.context().close();
}

/** Reviews rights, and closes the review. */
async function reviewed(sam, kim) {
  await sam.goto(`${CONSOLE}/reviews`);
  await look(sam, "reviews-none");
  await fill(sam, { "Days until it is due": "never" });
  await press(sam, "Begin");
  await look(sam, "reviews-no-days");
  await fill(sam, { Name: "Autumn", "Days until it is due": "30" });
  await press(sam, "Begin");
  const review = sam.url();
  await sam.locator("td summary").first().click();
  await look(sam, "review");
  for (const radio of await sam.getByRole("radio", { name: "Confirm" }).all()) await radio.check();
  await press(sam, "Record");
  await look(sam, "review-part");
  check((await sam.getByRole("radio", { name: "Confirm" }).count()) === 0, "one confirms oneself");
  await kim.goto(review);
  await kim.getByRole("radio", { name: "Confirm" }).first().check();
  await press(kim, "Record");
  await press(kim, "Close");
  await look(kim, "review-closed");
  check((await kim.getByText(/^closed/).count()) === 1, "the review is not closed");
  await kim.goto(`${CONSOLE}/reviews`);
  await look(kim, "reviews");
}

/** Gives a page a device that keeps passkeys and knows its holder. */
async function deviceOf(page) {
  const device = await page.context().newCDPSession(page);
  await device.send("WebAuthn.enable");
  const { authenticatorId } = await device.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return { device, authenticatorId };
}

async function invite(page, address, roles) {
  await page.goto(`${CONSOLE}/users`);
  await fill(page, { "E-mail address": address, Roles: roles });
  await press(page, "Invite");
  const link = await page.locator("p.code").innerText();
  return link.replace("127.0.0.1", "localhost");
}

/** Somebody whose first and only factor is a passkey, and who may do little. */
async function passkeyFirst(browser, invitation) {
  const eve = await visitor(browser);
  const { device, authenticatorId } = await deviceOf(eve);
  await eve.goto(invitation);
  await fill(eve, { Name: "Eve", Password: PASSWORD });
  await press(eve, "Go on");
  await press(eve, "Make a passkey");
  await look(eve, "passkey-first");
  // The device is not at hand at first.
  await device.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await eve.getByRole("button", { name: "Go on" }).click();
  await eve.locator("#passkey-problem").waitFor();
  await look(eve, "passkey-first-refused");
  await device.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
  await press(eve, "Go on");
  const codes = await eve.locator("li.code").allInnerTexts();
  check(codes.length === 10, `a first passkey brings ${codes.length} recovery codes`);
  await Promise.all([eve.waitForNavigation(), eve.getByRole("link", { name: /go on/ }).click()]);
  await look(eve, "home-read-only");
  for (const place of ["providers", "connections", "clients", "account"]) {
    await eve.goto(`${CONSOLE}/${place}`);
    await look(eve, `${place}-read-only`);
  }
  await eve.goto(`${CONSOLE}/audit`);
  await look(eve, "denied");
  check((await eve.getByRole("heading", { level: 1 }).innerText()) === "Not permitted", "not denied");
  await eve.goto(`${CONSOLE}/`);
  await press(eve, "Sign out");
  await press(eve, "Sign in with a passkey");
  await press(eve, "Go on");
  check(eve.url() === `${CONSOLE}/`, `a first passkey alone leads to ${eve.url()}`);
  // A form of before is no form any more.
  const other = await eve.context().newPage();
  await other.goto(`${CONSOLE}/account`);
  await press(eve, "Sign out");
  await press(other, "Make new recovery codes");
  await look(other, "not-from-here");
  await eve.context().close();
}

/** In by the console's address, where browsers have no passkeys, and pages say where they do. */
async function byAddress(browser, app) {
  const address = CONSOLE.replace("localhost", "127.0.0.1");
  const page = await visitor(browser);
  const isSaid = async (path) => {
    check((await page.getByRole("button", { name: /passkey/ }).count()) === 0, `${path} offers one`);
    const link = page.getByRole("link", { name: CONSOLE });
    check((await link.getAttribute("href")) === `${CONSOLE}${path}`, `${path} does not say where`);
  };
  await page.goto(`${address}/`);
  await look(page, "sign-in-by-address");
  await isSaid("/sign-in");
  await signIn(page, BOB, PASSWORD);
  await fill(page, { Code: await app.code() });
  await press(page, "Go on");
  check(page.url() === `${address}/`, `by the address a code leads to ${page.url()}`);
  await page.goto(`${address}/account`);
  await look(page, "account-by-address");
  await isSaid("/account");
  await page.context().close();
}

/** All the way in, to an act, and out, in a browser that runs no script. */
async function withoutScript(browser, own) {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${CONSOLE}/`);
  await press(page, "Sign in with a passkey");
  check(await page.locator("noscript p").isVisible(), "nothing is said of scripts");
  await page.getByRole("link", { name: "Use a password and a code instead" }).click();
  await page.waitForURL(`${CONSOLE}/sign-in`);
  await signIn(page, ADA, PASSWORD);
  await fill(page, { Code: own.codes[1] });
  await press(page, "Go on");
  check(page.url() === `${CONSOLE}/`, `without script a code leads to ${page.url()}`);
  await page.goto(`${CONSOLE}/account`);
  await press(page, "Make new recovery codes");
  check((await page.locator("li.code").count()) === 10, "without script there are no new codes");
  await page.goto(`${CONSOLE}/calls`);
  check((await page.locator("#calls tbody tr").count()) > 20, "without script there are no calls");
  check(!(await page.getByRole("button", { name: "Pause" }).isVisible()), "there is nothing to pause");
  await page.goto(`${CONSOLE}/`);
  await page.getByText("By the hour, as a table").click();
  check((await page.locator("#hours tbody tr").count()) === 24, "without script there are no hours");
  await press(page, "Sign out");
  check(page.url() === `${CONSOLE}/sign-in`, "without script nobody gets out");
  await context.close();
}

/** A device with a passkey of its own: made, shown alone, after a password and again, and refused. */
async function passkeys(ada) {
  const { device, authenticatorId } = await deviceOf(ada);
  await ada.goto(`${CONSOLE}/account`);
  await press(ada, "Add a passkey");
  await look(ada, "passkey-make");
  await fill(ada, { "Name of the passkey": "laptop" });
  await press(ada, "Go on");
  check(ada.url() === `${CONSOLE}/account`, `a new passkey leads to ${ada.url()}`);
  check(await ada.getByRole("cell", { name: "laptop", exact: true }).isVisible(), "the passkey is not listed");

  await press(ada, "Sign out");
  await press(ada, "Sign in with a passkey");
  await look(ada, "passkey-sign-in");
  let sent = null;
  ada.on("request", (request) => {
    if (request.method() === "POST" && request.url().endsWith("/sign-in/passkey")) {
      sent = request.postData();
    }
  });
  await press(ada, "Go on");
  check(ada.url() === `${CONSOLE}/`, `a passkey alone leads to ${ada.url()}`);
  await ada.goto(`${CONSOLE}/users`);
  check(ada.url() === `${CONSOLE}/users`, "whoever has a passkey is not all the way in");

  await ada.goto(`${CONSOLE}/step-up?to=/users`);
  await press(ada, "Use a passkey");
  await look(ada, "passkey-step-up");
  await press(ada, "Go on");
  check(ada.url() === `${CONSOLE}/users`, `a step-up by a passkey leads to ${ada.url()}`);

  await press(ada, "Sign out");
  await signIn(ada, ADA, PASSWORD);
  await press(ada, "Use a passkey");
  await press(ada, "Go on");
  check(ada.url() === `${CONSOLE}/`, `a passkey after a password leads to ${ada.url()}`);

  // What was answered once is worth nothing any more.
  await press(ada, "Sign out");
  const answered = new URLSearchParams(sent ?? "");
  check(answered.get("answer")?.length > 100, "no answer of a passkey was seen");
  for (const [what, change] of [
    ["the same again", () => {}],
    ["without what was begun", (form) => form.delete("handle")],
    ["to something begun anew", async (form) => {
      await ada.goto(`${CONSOLE}/sign-in`);
      await press(ada, "Sign in with a passkey");
      form.set("handle", await ada.locator("input[name=handle]").inputValue());
    }],
  ]) {
    const form = new URLSearchParams(answered);
    await ada.goto(`${CONSOLE}/sign-in`);
    await change(form);
    form.set("form", await ada.locator("input[name=form]").first().inputValue());
    const status = await ada.evaluate(
      async (body) =>
        (await fetch("/sign-in/passkey", {
          method: "POST",
          headers: { "content-type": "application/x-www-form-urlencoded" },
          body,
        })).status,
      form.toString(),
    );
    check(status === 403 || status === 422, `${what}: ${status}`);
  }
  await ada.goto(`${CONSOLE}/`);
  check(ada.url() === `${CONSOLE}/sign-in`, "a passkey that was shown before let somebody in");

  // A device that does not know who holds it gives none.
  await device.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await press(ada, "Sign in with a passkey");
  await ada.getByRole("button", { name: "Go on" }).click();
  await ada.locator("#passkey-problem").waitFor();
  await look(ada, "passkey-refused");
  await ada.getByRole("link", { name: "Use a password and a code instead" }).click();
  await ada.waitForURL(`${CONSOLE}/sign-in`);
}

if (SHOTS) mkdirSync(SHOTS, { recursive: true });
// What the browser would ask for on the internet is left out; the sandbox does not work for root.
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking"],
});
try {
  await walk(browser);
} catch (error) {
  problem({ error: String(error) });
} finally {
  await browser.close();
}
console.log(JSON.stringify({ seen, problems }));
