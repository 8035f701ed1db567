//! What is given on the command line and refused is not repeated: who pastes a secret behind the
//! wrong flag finds it neither on the terminal nor in the log of a build.

use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use testkit::{THING_DESCRIPTION, Weirgate};

/// Every verb with every argument that takes a value: before `=` stands a flag, or the name that
/// `--help` gives to a place. What is in braces is a path in the test's home, or something's id.
const LINES: [&str; 104] = [
    // Names what others made, so it comes before them.
    "doctor",
    "demo --once --gateway-addr=127.0.0.1:0 --console-addr=127.0.0.1:0 --seed=1",
    "init --database-url=postgres://u@127.0.0.1:1/d --database-password-file={secret.json}",
    "serve --gateway-addr=127.0.0.1:none --console-addr=127.0.0.1:0",
    "provider import FILE={things.yaml} --name=new --server=https://h.example --overlay={overlay.yaml} --allow-private-network=h.internal:8443",
    "provider show SLUG=things",
    "provider list",
    "provider check SLUG=things",
    "provider app set SLUG=things --secret-file={secret.json}",
    "provider app remove SLUG=things",
    "provider diff OLD=things NEW={things.yaml} --overlay={overlay.yaml} --fail-on=breaking",
    "provider observe PROVIDER=things OPERATION=listThings SAMPLES={sample.json} --status=200",
    "connection create --provider=things --customer=Acme --scheme=bearer --secret-file={secret.json} --environment=live --var=a=b --header=X-Tenant=b --port=1",
    "connection show ID={connection}",
    "connection reconnect ID={connection} --port=1 --no-browser --yes",
    "connection consent list --connection={connection}",
    "connection consent renew ID={connection} --yes",
    "connection consent revoke ID={connection}",
    "connection list",
    "connection check ID={connection}",
    "connection replace ID={connection} --secret-file={secret.json} --unchecked --keep-former",
    "connection replace ID={connection} --again",
    "connection replace ID={connection} --back --unchecked",
    "connection replace ID={connection} --cancel",
    "connection replace ID={connection} --retire",
    "connection revoke ID={connection}",
    "client create NAME=someone",
    "client list",
    "client owner NAME=reader USER=ada@example.com",
    "client owner NAME=reader --none",
    "vault lifetime apply FILE={lifetimes.toml} --dry-run",
    "vault lifetime list",
    "vault lifetime try FILE={lifetimes.toml} --since=30d",
    "vault lifetime restore ID={connection}",
    "vault leak ID=key_06ewk4g000e0g0000000000001",
    "vault store add NAME=bao --address=http://127.0.0.1:9 --mount=secret --namespace=eng --ttl=15m --login-file={secret.json} --allow-private-network=127.0.0.1:9",
    "vault store list",
    "vault store remove NAME=bao",
    "vault store refresh ID={connection}",
    "connection create --provider=things --customer=c --secret-from=bao:team/hr",
    "vault leak --key-file={sample.json}",
    "client key create NAME=reader --expires=1d --environment=test",
    "client key rotate ID=key_06ewk4g000e0g0000000000001 --overlap=7d --expires=90d",
    "user setup-link",
    "user invite ADDRESS=grace@example.com --role=auditor",
    "user link USER=grace@example.com",
    "user list",
    "user disable USER=grace@example.com",
    "user enable USER=grace@example.com",
    "user remove USER=grace@example.com",
    "user roles USER=grace@example.com --role=auditor",
    "sso add NAME=corp --issuer=http://127.0.0.1:9 --client-id=weirgate --client-secret-file={secret.json} --scope=email --group=staff=auditor --groups-claim=groups --second-factor=provider --amr=mfa --acr=urn:mfa",
    "sso list",
    "sso check NAME=corp",
    "sso remove NAME=corp",
    "review begin --name=Autumn --days=30",
    "review list",
    "review show ID=revw_06ewk4g000e0g000000000000c --open",
    "review confirm ITEMS=1",
    "review drop ITEMS=99",
    "review close",
    "review export ID=revw_06ewk4g000e0g000000000000c --out={evidence}",
    "review remove ID=revw_06ewk4g000e0g000000000000c",
    "grant list --client=reader",
    "grant proposals",
    "role list --acts",
    "role remove NAME=reviewer",
    "policy list",
    "policy show NAME=office-hours",
    "policy check FILE={office-hours.cedar}",
    "policy schema",
    "policy remove NAME=office-hours",
    "advise --days=30",
    "explain person USER=grace@example.com --act=audit.read --source=192.0.2.7 --stepped-up",
    "explain field PROVIDER=things FIELD=Thing.name",
    "session list --user=grace@example.com",
    "session end ID=sess_06ewk4g000e0g000000000000c",
    "client key revoke ID=key_06ewk4g000e0g0000000000001",
    "apply DIR={grants} --dry-run",
    "audit list --limit=1",
    "audit verify --checkpoint={data/audit/checkpoint} --witness-key={data/witness.pub} --key={data/audit.pub}",
    "audit checkpoint --cosigned",
    "audit proof INDEX=0 --checkpoint={data/audit/checkpoint} --out={proof}",
    "audit export --from=0 --to=1 --out={export}",
    "project --allow=id FILE={sample.json}",
    "node list",
    "node retire NAME=first",
    "backup create FILE={backup}",
    "backup verify FILE={backup}",
    "backup restore FILE={backup} --database-url=postgres://u@127.0.0.1:1/d --database-password-file={secret.json}",
    "vault status",
    "vault rotate --finish",
    // It would move the key of all lines: this one has none.
    "vault rotate-root --new-root-key-file={new.key} --root-key-file={secret.json}",
    "vault seal",
    "vault unseal",
    "vault shares --threshold=2 --shares=3 --out={shares}",
    "vault recover --share={secret.json}",
    "customer list",
    "customer erase NAME=Nobody --yes --certificate={certificate}",
    "customer certificate ID=cust_06ewk4g000e0g000000000000c --out={certificate}",
    "config show --origin",
    "completions SHELL=none",
    "man DIR={pages}",
    "sandbox FILE={things.yaml} --listen=127.0.0.1:0 --seed=1 --records=2 --credential-file={secret.json} --token-lifetime=1h --fault=none",
];

/// What every verb takes besides.
const GLOBAL: [&str; 6] = [
    "--data-dir",
    "--config",
    "--root-key-file",
    "--passphrase-file",
    "--server-url",
    "--token-file",
];

const CANARY: &str = "canary9f3b7c21";

/// What people paste: a bare token, base64, a pair, a URL with and without a password, an address, a
/// path, a key and an id of ours, JSON, PEM, and more than a file's name can have.
fn forms() -> Vec<String> {
    let forms = [
        "%",
        "Sk_live.%",
        "nowhere/%/file",
        "%==",
        "a=%",
        "https://u:%@h.example/%?key=%#%",
        "http://%.example",
        "%:99999",
        "wg_live_%",
        "key_%",
        r#"{"token":"%"}"#,
        "-----BEGIN % KEY-----",
        "--%",
    ];
    let mut forms: Vec<String> = forms.iter().map(|form| form.replace('%', CANARY)).collect();
    forms.push(CANARY.repeat(30));
    forms
}

/// A verb's words, then its arguments with their values.
struct Line {
    verb: Vec<String>,
    flags: Vec<String>,
    arguments: Vec<(String, String)>,
}

impl Line {
    /// With every place in braces filled.
    fn read(line: &str, fill: impl Fn(&str) -> String) -> Self {
        let mut read = Self { verb: Vec::new(), flags: Vec::new(), arguments: Vec::new() };
        for word in line.split(' ') {
            match word.split_once('=') {
                Some((name, value)) => {
                    let place = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                    let value = place.map_or_else(|| value.to_owned(), &fill);
                    read.arguments.push((name.to_owned(), value));
                }
                None if word.starts_with('-') => read.flags.push(word.to_owned()),
                None => read.verb.push(word.to_owned()),
            }
        }
        read
    }

    /// As it is called, with another value for one argument.
    fn with(&self, replaced: &str, by: &str) -> Vec<String> {
        let mut words = [self.verb.clone(), self.flags.clone()].concat();
        let mut is_known = false;
        for (name, value) in &self.arguments {
            let is_replaced = name == replaced;
            is_known |= is_replaced;
            let value = if is_replaced { by } else { value.as_str() };
            if name.starts_with('-') {
                words.push(format!("{name}={value}"));
            } else {
                words.push(value.to_owned());
            }
        }
        if !is_known {
            words.push(format!("{replaced}={by}"));
        }
        words
    }
}

/// The leaves of the tree of verbs, each with its arguments that take a value, as `--help` tells.
fn told(weirgate: &Weirgate) -> BTreeMap<Vec<String>, BTreeSet<String>> {
    let mut leaves = BTreeMap::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(verb) = open.pop() {
        let mut args: Vec<&str> = verb.iter().map(String::as_str).collect();
        args.push("--help");
        let help = weirgate.run(&args, b"").unwrap().out();
        let (mut section, mut arguments, mut is_leaf) = ("", BTreeSet::new(), true);
        for line in help.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            match section {
                // Longer explanations are indented further.
                _ if line.ends_with(':') && !line.starts_with(' ') => section = line,
                "Commands:" if line.starts_with("  ") && first != "help" => {
                    is_leaf = false;
                    open.push([verb.as_slice(), &[first.to_owned()]].concat());
                }
                "Arguments:" if line.starts_with("  ") && first.starts_with(['<', '[']) => {
                    arguments.insert(first.trim_matches(['<', '>', '[', ']', '.']).to_owned());
                }
                "Options:"
                    if first.starts_with("--")
                        && words.next().is_some_and(|value| value.starts_with('<')) =>
                {
                    arguments.insert(first.to_owned());
                }
                _ => {}
            }
        }
        if is_leaf {
            leaves.insert(verb, arguments);
        }
    }
    leaves
}

#[test]
fn refused_arguments_are_not_repeated() {
    let world = World::prepared();
    let weirgate = &world.weirgate;
    weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    weirgate
        .file("overlay.yaml", "overlay: 1.1.0\ninfo: {title: t, version: '1'}\nactions: []\n")
        .unwrap();
    weirgate.file("sample.json", r#"{"id":"1"}"#).unwrap();
    weirgate.file("lifetimes.toml", "").unwrap();
    let secret = weirgate.file("secret.json", r#"{"token":"t"}"#).unwrap();
    std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let fill = |place: &str| match place {
        "connection" => world.connection.clone(),
        _ => weirgate.home().join(place).display().to_string(),
    };
    let lines = LINES.map(|line| Line::read(line, fill));
    let mut known: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for line in &lines {
        let names = line.arguments.iter().map(|(name, _)| name.clone());
        let all = names.chain(GLOBAL.map(ToOwned::to_owned));
        known.entry(line.verb.clone()).or_default().extend(all);
    }
    assert_eq!(told(weirgate), known, "a verb or an argument is not tried");
    let is_there = || {
        let home = std::fs::read_dir(weirgate.home()).unwrap();
        home.map(|entry| entry.unwrap().path()).collect::<BTreeSet<_>>()
    };
    let before = is_there();
    let (mut repeated, mut refused) = (Vec::new(), 0);
    let mut attempt = |line: &Line, name: &str, number: usize, form: &str| {
        let mut words = line.with(name, form);
        if number % 2 == 1 {
            words.push("--json".to_owned());
        }
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = weirgate.run(&args, b"").unwrap();
        // What was made under such a name may be named the next time.
        for made in is_there().difference(&before) {
            if made.is_dir() {
                std::fs::remove_dir_all(made).unwrap();
            } else {
                std::fs::remove_file(made).unwrap();
            }
        }
        if output.status == Some(0) {
            return;
        }
        refused += 1;
        let said = format!("{}{}", output.out(), output.err());
        if said.to_lowercase().contains(CANARY) {
            repeated.push(format!("{args:?}: {said}"));
        }
    };
    let forms = forms();
    for line in &lines {
        for (name, _) in &line.arguments {
            for (number, form) in forms.iter().enumerate() {
                attempt(line, name, number, form);
            }
        }
        for (number, name) in GLOBAL.iter().enumerate() {
            attempt(line, name, number, CANARY);
            attempt(line, name, number + 1, &format!("nowhere/{CANARY}/file"));
        }
    }
    // A word too many, a verb and a flag that are none.
    for (number, form) in forms.iter().enumerate() {
        for words in [vec![form.as_str()], vec!["client", form], vec!["client", "list", form]] {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            let line = Line { verb: words, flags: Vec::new(), arguments: Vec::new() };
            attempt(&line, "--data-dir", number, "elsewhere");
        }
    }
    assert!(repeated.is_empty(), "{} repeated:\n{}", repeated.len(), repeated.join("\n"));
    // Most are refused: few names and places can be anything.
    assert!(refused > 700, "{refused}");
}
