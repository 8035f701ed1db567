//! Roles and policies of an installation's own: in force from the next request on, and shown.

use crate::browser::{ADA, House};
use app::apply::{self, Removal};

const FILES: [(&str, &str); 2] = [
    (
        "rules.toml",
        "[[role]]\nname = \"reviewer\"\nacts = [\"installation.read\", \"user.read\", \"audit.read\"]\n",
    ),
    (
        "nobody-invites.cedar",
        "// <b>\nforbid (principal, action == Action::\"user.invite\", resource)\n\
         unless { principal in Role::\"security\" };\n",
    ),
];

async fn apply(house: &House, files: &[(&str, &str)]) -> Result<Vec<String>, app::Error> {
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let plan = apply::plan_files(&house.instance, &files).await?;
    let told = plan.to_text(false);
    apply::commit(&house.instance, &house.context(), plan, Removal::SomeGrantsRemain).await?;
    Ok(told)
}

#[tokio::test]
async fn what_is_applied_is_in_force_from_the_next_request_on() {
    let house = House::open().await;
    let mut ada = house.administrator().await;
    ada.browser.get("/users").await;
    let invite = [("address", "bob@example.com"), ("roles", "auditor")];
    assert_eq!(ada.browser.post("/users/invite", &invite).await.status, 200);

    let told = apply(&house, &FILES).await.unwrap().join("\n");
    assert!(told.contains("added: role reviewer"), "{told}");
    assert!(told.contains("fewer may: user.invite (1 person)"), "{told}");
    assert!(told.contains("hold no grant: those in force stay"), "{told}");
    // The session is as old as before; what it may is of now.
    let page = ada.browser.get("/users").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("Invite somebody"), "what is forbidden is not offered");
    let carol = [("address", "carol@example.com"), ("roles", "auditor")];
    let answer = ada.browser.post("/users/invite", &carol).await;
    assert_eq!(answer.status, 403, "{}", answer.text);

    // A role of one's own permits what it names, and nothing else.
    let mut rita = house.invited("rita@example.com", &["reviewer"]).await.browser;
    assert_eq!(rita.get("/audit").await.status, 200);
    assert_eq!(rita.get("/users").await.status, 200);
    for path in ["/providers", "/clients", "/connections", "/rules"] {
        assert_eq!(rita.get(path).await.status, 403, "{path}");
    }
    let narrower = "[[role]]\nname = \"reviewer\"\nacts = [\"user.read\"]\n";
    let told = apply(&house, &[("rules.toml", narrower)]).await.unwrap().join("\n");
    assert!(told.contains("no longer permits installation.read, audit.read"), "{told}");
    assert!(told.contains("1 person has it"), "{told}");
    assert_eq!(rita.get("/audit").await.status, 403);
    assert_eq!(rita.get("/users").await.status, 200);
    // What the files do not speak of stays: the policy is in force still.
    assert_eq!(ada.browser.post("/users/invite", &carol).await.status, 403);
}

#[tokio::test]
async fn the_page_tells_what_a_person_can_do_and_why() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    house.invited("sam@example.com", &["security"]).await;
    apply(&house, &FILES).await.unwrap();
    let page = ada.get("/rules").await.text;
    assert!(page.contains("reviewer") && page.contains("your own"), "{page}");
    assert!(page.contains("// &#60;b&#62;") && !page.contains("// <b>"), "{page}");
    let id_of = |address: &str| {
        let before = page.split(&format!("\">{address}</option>")).next().unwrap();
        let before = before.split(&format!("\" selected>{address}</option>")).next().unwrap();
        before.rsplit('"').next().unwrap().to_owned()
    };
    let (own, sam) = (id_of(ADA), id_of("sam@example.com"));
    let ask = |user: &str, rest: &str| format!("/rules?user={user}&{rest}");
    let answer = ada.get(&ask(&own, "act=user.invite&stepped_up=yes")).await.text;
    assert!(answer.contains("<td data-label=\"Decision\">denied"), "{answer}");
    assert!(answer.contains("policy nobody-invites"), "{answer}");
    let answer = ada.get(&ask(&own, "act=user.roles")).await.text;
    assert!(answer.contains("needs a step-up") && answer.contains("role administrator"));
    let answer = ada.get(&ask(&sam, "act=user.invite&stepped_up=yes")).await.text;
    assert!(answer.contains("no role permits it"), "{answer}");
    let all = ada.get(&ask(&sam, "")).await.text;
    assert!(all.matches("data-label=\"Decision\"").count() == policy::Act::ALL.len());
    for (query, says) in [
        ("user=somebody", "There is no such person"),
        (&*format!("user={own}&source=here"), "This is no address"),
    ] {
        assert!(ada.get(&format!("/rules?{query}")).await.text.contains(says), "{query}");
    }
    // Who may not know who there is, sees the rules alone.
    let watcher = "[[role]]\nname = \"watcher\"\nacts = [\"role.read\"]\n";
    apply(&house, &[("rules.toml", watcher)]).await.unwrap();
    let mut wes = house.invited("wes@example.com", &["watcher"]).await.browser;
    let page = wes.get("/rules").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("example.com") && !page.text.contains("nobody-invites"));
}

#[tokio::test]
async fn what_is_wrong_with_rules_changes_nothing() {
    let house = House::open().await;
    let mut ada = house.administrator().await.browser;
    let wrong = [
        ("a.toml", "[[role]]\nname = \"auditor\"\nacts = [\"audit.read\"]\n"),
        ("b.toml", "[[role]]\nname = \"x\"\n\nacts = [\"audit.raed\", \"user.read\"]\n"),
        ("c.toml", "[[role]]\nname = \"Big One\"\nacts = []\ncolour = \"red\"\n"),
        ("d.cedar", "forbid (principal, action, resource)\nwhen { context.colour == 1 };"),
        ("e.cedar", "permit (principal, action, resource);"),
        ("F G.cedar", "forbid (principal, action, resource);"),
    ];
    let Err(app::Error::Grants(problems)) = apply(&house, &wrong).await else {
        panic!("they are wrong")
    };
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for says in [
        "a.toml:1: the name `auditor` is that of a built-in role",
        "b.toml:4: ",
        "Did you mean `audit.read`?",
        "c.toml:2: the role's name is none",
        "c.toml:4: `colour` is no key of a role",
        "d.cedar:2: ",
        "e.cedar:1: the policy policy0 permits",
        "F G.cedar:1: the file's name is no name for a policy",
    ] {
        assert!(told.iter().any(|one| one.contains(says)), "{says}\n{told:#?}");
    }
    let page = ada.get("/rules").await.text;
    assert!(!page.contains("your own") && page.contains("roles alone decide"), "{page}");
}

#[tokio::test]
async fn the_page_names_what_nobody_used() {
    let house = House::open().await;
    let credential = types::SecretText::new("sandbox-credential".into());
    let (url, host) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
    app::demo::seed(&house.instance, &house.context(), url, host, &credential).await.unwrap();
    app::sequence::settle(&house.instance).await.unwrap();
    let mut rea = house.invited("rea@example.com", &["read-only"]).await.browser;
    let page = rea.get("/advice").await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains("0 calls since") && page.text.contains("All that is granted was used"),
        "{}",
        page.text
    );
    assert!(page.text.contains("Every key in force that is older was used"), "{}", page.text);
    assert!(!page.text.contains("Drop it") && !page.text.contains("Revoke"), "{}", page.text);
    what_nobody_uses_goes_by_a_click(&house).await;
    house.wait(std::time::Duration::from_hours(20));
    let mut rea = house.invited("roy@example.com", &["read-only"]).await.browser;
    for (days, says) in
        [("x", "These are no days"), ("0", "These are no days"), ("3651", "These are no days")]
    {
        let page = rea.get(&format!("/advice?days={days}")).await;
        assert!(page.text.contains(says), "{days}");
    }
}

async fn what_nobody_uses_goes_by_a_click(house: &House) {
    let name = "reports".parse().unwrap();
    let ctx = house.context();
    app::clients::create(&house.instance, &ctx, &name).await.unwrap();
    let life = std::time::Duration::from_hours(30 * 24);
    let environment = types::Environment::Test;
    let made = app::clients::create_key(&house.instance, &ctx, &name, environment, life).await;
    let made = made.unwrap().id.to_string();
    let grant = "[[grant]]\nclient = \"reports\"\nprovider = \"hr\"\npurpose = \"count\"\nexpires = \
                 \"2999-12-31\"\nallow = [{ object = \"Employee\", actions = [\"read\"], fields = [\"id\"] }]\n";
    let files = [("reports.toml".to_owned(), grant.as_bytes().to_vec())];
    let plan = apply::plan_files(&house.instance, &files).await.unwrap();
    apply::commit(&house.instance, &ctx, plan, Removal::AllIsMeant).await.unwrap();
    app::sequence::settle(&house.instance).await.unwrap();
    let mut early = house.invited("eve@example.com", &["security"]).await.browser;
    let page = early.get("/advice?days=1").await;
    // Neither it nor the log is so old.
    assert!(!page.text.contains("Drop it"), "{}", page.text);
    house.wait(std::time::Duration::from_hours(48));
    let mut sam = house.invited("sue@example.com", &["security"]).await.browser;
    let page = sam.get("/advice?days=1").await;
    let path = crate::browser::between(&page.text, "action=\"/grants/", "\"").to_owned();
    let path = format!("/grants/{}", path.trim_end_matches("/effect"));
    for days in ["", "0", "never"] {
        let none = sam.post(&format!("{path}/effect"), &[("unused", days)]).await;
        assert_eq!(none.status, 404, "{days}: {}", none.text);
    }
    let shown = sam.post(&format!("{path}/effect"), &[("unused", "1")]).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert!(shown.text.contains("name=\"unused\" value=\"1\""), "{}", shown.text);
    let mark = crate::browser::between(&shown.text, "name=\"shown\" value=\"", "\"").to_owned();
    let other = sam.post(&format!("{path}/save"), &[("unused", "1"), ("shown", "x")]).await;
    assert_eq!(other.status, 409, "{}", other.text);
    let done = sam.post(&format!("{path}/save"), &[("unused", "1"), ("shown", &mark)]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(app::grants::list(&house.instance).await.unwrap().is_empty());

    let page = sam.get("/advice?days=1").await;
    // Rea came two days ago, and Sue comes now.
    assert!(
        page.text.contains("rea@example.com") && page.text.contains("Disable"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("sue@example.com"), "{}", page.text);
    assert!(!sam.get("/advice?days=30").await.text.contains("rea@example.com"));
    let key = crate::browser::between(&page.text, "action=\"/keys/", "\"").to_owned();
    let done = sam.post(&format!("/keys/{key}"), &[]).await;
    assert_eq!(done.location(), "/advice", "{}", done.text);
    assert_eq!(key, format!("{made}/revoke"));
    let clients = app::clients::list(&house.instance).await.unwrap();
    let client = clients.iter().find(|one| one.name == "reports").unwrap();
    assert!(client.keys[0].revoked_at.is_some());
}
