//! The console in a real browser: Debian's Chromium, driven by Playwright, judged by axe.
//!
//! `WEIRGATE_TEST_BROWSER` names the folder with both (`tests/browser/browser.sh install DIR` makes
//! one); `.ci/run` sets it. `WEIRGATE_TEST_SHOTS` names a folder for pictures of every page.

use crate::{
    connect, sso,
    world::{World, text},
};
use serde_json::Value;
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder with what drives the browser; or what is missing of it, of Node.js and of Chromium.
fn tools() -> Result<PathBuf, &'static str> {
    let folder = env::var_os("WEIRGATE_TEST_BROWSER").map(PathBuf::from);
    let folder =
        folder.ok_or("WEIRGATE_TEST_BROWSER does not name the folder with playwright-core")?;
    if !folder.join("node_modules/playwright-core").is_dir() {
        return Err("there is no playwright-core in the folder that WEIRGATE_TEST_BROWSER names");
    }
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !runs("node") {
        return Err("there is no node on the path");
    }
    if !runs(CHROMIUM) {
        return Err("there is no /usr/bin/chromium");
    }
    Ok(folder)
}

const CHROMIUM: &str = "/usr/bin/chromium";

/// Every page in every state, dark and light, narrow and wide: no violation of WCAG 2.2 AA, no breach
/// of the content security policy, no word on the browser's console, nothing wider than the screen.
#[test]
fn every_page_is_sound_in_a_browser() {
    let folder = match tools() {
        Ok(folder) => folder,
        Err(missing) => {
            eprintln!("skipped: {missing}");
            return;
        }
    };
    let mut world = World::prepared();
    let role = "[[role]]\nname = \"reviewer\"\nacts = [\"audit.read\", \"user.read\"]\n";
    world.weirgate.file("rules/roles.toml", role).unwrap();
    let policy = "// Who was here is nobody's business.\nforbid (principal, action == \
                  Action::\"session.read\", resource)\nwhen { context.hour >= 0 };\n";
    world.weirgate.file("rules/office-hours.cedar", policy).unwrap();
    let dir = world.weirgate.home().join("rules").display().to_string();
    crate::world::ok(&world.weirgate, &["apply", &dir, "--json"]);
    // Browsers have no passkeys for addresses; and the provider, which is one, is another site.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let console = format!("http://localhost:{port}");
    world.weirgate.set("WEIRGATE_CONSOLE_URL", &console);
    let console_addr = format!("127.0.0.1:{port}");
    let args =
        ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", &console_addr, "--json"];
    let (server, line) = world.weirgate.spawn_until_json(&args).unwrap();
    world.server = Some(server);
    let idp = match sso::tools() {
        Ok(oidc) => Some(sso::Idp::start(
            &oidc,
            &format!("{console}/sso/corp/callback,{console}/connect/cloud/callback"),
        )),
        Err(missing) => {
            eprintln!("skipped: {missing}");
            None
        }
    };
    if let Some(idp) = &idp {
        let secret = world.weirgate.file("client-secret", sso::SECRET).unwrap();
        let mut add = vec!["sso", "add", "corp", "--issuer", &idp.issuer, "--json"];
        add.extend(["--client-id", "weirgate", "--client-secret-file", &secret]);
        add.extend(["--scope", "groups", "--group", "staff=administrator"]);
        crate::world::ok(&world.weirgate, &add);
        connect::import(&world, "cloud", &idp.issuer);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/walk.mjs");
    let mut walk = Command::new("node");
    walk.arg(script)
        .env("WEIRGATE_TEST_BROWSER", folder)
        .env("CHROMIUM", CHROMIUM)
        .env("CONSOLE", console)
        .env("GATEWAY", format!("{}{}", text(&line, "gateway"), world.path("")))
        .env("KEY", &world.key)
        .env("STRANGER", &world.stranger_key)
        .env("ISSUER", idp.as_ref().map_or("", |idp| &idp.issuer))
        .env("SETUP", text(&line, "setup_url"));
    if let Some(shots) = env::var_os("WEIRGATE_TEST_SHOTS") {
        walk.env("SHOTS", shots);
    }
    let output = walk.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let last: Value = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap();
    assert_eq!(last["problems"], 0, "{said}{told}");
    assert!(last["seen"].as_array().unwrap().len() > 30, "{last}");
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}
