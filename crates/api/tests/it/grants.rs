//! Grants on the console: seen, narrowed, widened by two people, and never otherwise than was shown.

use crate::browser::{Answer, Browser, House, between};
use app::{apply, demo};
use std::time::Duration;
use types::SecretText;

async fn seeded(house: &House) {
    let (server, place) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
    let secret = SecretText::new("secret".to_owned());
    demo::seed(&house.instance, &house.context(), server, place, &secret).await.unwrap();
}

/// The path of the only grant, and its boxes: all, and those that are ticked.
pub async fn grant(browser: &mut Browser) -> (String, Vec<String>, Vec<String>) {
    let list = browser.get("/grants").await;
    assert_eq!(list.status, 200, "{}", list.text);
    let id = between(&list.text, "<a href=\"/grants/grnt", "\"").to_owned();
    let path = format!("/grants/grnt{id}");
    let page = browser.get(&path).await.text;
    let boxes = page.split("name=\"field\" value=\"").skip(1);
    let boxes: Vec<(String, bool)> = boxes
        .map(|rest| {
            let tag = rest.split('>').next().unwrap();
            (rest.split('"').next().unwrap().to_owned(), tag.contains(" checked"))
        })
        .collect();
    let all = boxes.iter().map(|(name, _)| name.clone()).collect();
    let ticked = boxes.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    (path, all, ticked)
}

async fn effect(browser: &mut Browser, path: &str, boxes: &[String]) -> Answer {
    let fields: Vec<(&str, &str)> = boxes.iter().map(|one| ("field", one.as_str())).collect();
    browser.post(&format!("{path}/effect"), &fields).await
}

pub async fn save(browser: &mut Browser, path: &str, boxes: &[String]) -> Answer {
    let shown = effect(browser, path, boxes).await.text;
    let shown = between(&shown, "name=\"shown\" value=\"", "\"").to_owned();
    let mut fields: Vec<(&str, &str)> = boxes.iter().map(|one| ("field", one.as_str())).collect();
    fields.push(("shown", &shown));
    browser.post(&format!("{path}/save"), &fields).await
}

pub fn with(ticked: &[String], more: &[&str]) -> Vec<String> {
    ticked.iter().cloned().chain(more.iter().map(|one| (*one).to_owned())).collect()
}

#[tokio::test]
async fn a_grant_is_narrowed_as_it_was_shown() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let (path, all, ticked) = grant(&mut sam).await;
    assert!(all.len() > ticked.len() && ticked.contains(&"0:lastName".to_owned()), "{all:?}");
    let fewer: Vec<String> = ticked.iter().filter(|one| *one != "0:lastName").cloned().collect();
    let shown = effect(&mut sam, &path, &fewer).await;
    assert_eq!(shown.status, 200);
    assert!(shown.text.contains("removes 1 field, 1 of them personal: Employee.lastName"));
    assert!(shown.text.contains("1 client is affected"), "{}", shown.text);
    // What would pass, by the gateway's own engine.
    let answer = between(&shown.text, "<pre class=\"code\">", "</pre>");
    assert!(!answer.contains("lastName") && answer.contains("id"), "{answer}");
    assert!(shown.text.contains("Save it"), "{}", shown.text);
    assert!(!shown.text.contains("Propose it"));
    // Nothing was changed by looking.
    assert_eq!(grant(&mut sam).await.2, ticked);
    assert_eq!(save(&mut sam, &path, &fewer).await.location(), "/grants");
    let (path, _, now) = grant(&mut sam).await;
    assert_eq!(now, fewer);
    // The same again changes nothing.
    assert!(effect(&mut sam, &path, &fewer).await.text.contains("Nothing would change"));
    // Everything taken away is the end of the grant.
    assert!(effect(&mut sam, &path, &[]).await.text.contains("removes read on Employee"));
    assert_eq!(save(&mut sam, &path, &[]).await.location(), "/grants");
    assert!(sam.get("/grants").await.text.contains("Nothing is granted"));
    assert_eq!(sam.get(&path).await.status, 404);
}

#[tokio::test]
async fn what_is_sensitive_is_opened_by_two() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let mut kim = house.invited("kim@example.com", &["security"]).await.browser;
    let mut ira = house.invited("ira@example.com", &["integrator"]).await.browser;
    let (path, all, ticked) = grant(&mut sam).await;
    let secret = "0:ssn";
    assert!(all.contains(&secret.to_owned()) && !ticked.contains(&secret.to_owned()), "{all:?}");
    let wider = with(&ticked, &[secret]);
    let shown = effect(&mut sam, &path, &wider).await.text;
    assert!(shown.contains("adds 1 field, 1 of them personal: Employee.ssn"));
    assert!(shown.contains("waits until somebody else approves it"), "{shown}");
    assert_eq!(save(&mut sam, &path, &wider).await.location(), "/grants");
    assert_eq!(grant(&mut sam).await.2, ticked, "one person alone opens nothing");
    let page = sam.get("/grants").await.text;
    assert!(page.contains("Waiting for a second person") && page.contains("by you"), "{page}");
    let id = between(&page, "/grants/proposals/", "/").to_owned();
    let approve = format!("/grants/proposals/{id}/approve");
    let own = sam.post(&approve, &[]).await;
    assert_eq!(own.status, 403);
    assert!(own.text.contains("approved by somebody else"), "{}", own.text);
    // Who may not approve, does not see how, and does not.
    let page = ira.get("/grants").await.text;
    assert!(page.contains("Employee.ssn") && !page.contains(">Approve<"), "{page}");
    assert_eq!(ira.post(&approve, &[]).await.status, 403);
    assert_eq!(grant(&mut sam).await.2, ticked);
    // A second person, whose step-up has ended, is asked for a factor first.
    house.wait(Duration::from_mins(6));
    kim.get("/grants").await;
    assert_eq!(kim.post(&approve, &[]).await.location(), "/step-up?to=/grants");
    let mut lee = house.invited("lee@example.com", &["security"]).await.browser;
    let page = lee.get("/grants").await.text;
    assert!(page.contains("by sam@example.com"), "{page}");
    assert_eq!(lee.post(&approve, &[]).await.location(), "/grants");
    let now = grant(&mut lee).await.2;
    assert!(now.contains(&secret.to_owned()), "{now:?}");
    // Once.
    assert_eq!(lee.post(&approve, &[]).await.status, 404);
    assert!(!lee.get("/grants").await.text.contains("Waiting for"));
}

#[tokio::test]
async fn a_proposal_that_is_no_longer_what_was_shown_does_nothing() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let mut kim = house.invited("kim@example.com", &["security"]).await.browser;
    let (path, _, ticked) = grant(&mut sam).await;
    let propose = with(&ticked, &["0:ssn"]);
    for verdict in ["approve", "reject", "withdraw"] {
        let (path, ..) = grant(&mut sam).await;
        save(&mut sam, &path, &propose).await;
        let page = kim.get("/grants").await.text;
        let id = between(&page, "/grants/proposals/", "/").to_owned();
        let act = format!("/grants/proposals/{id}/{verdict}");
        match verdict {
            // The grant is another by now.
            "approve" => {
                let fewer: Vec<String> = ticked.iter().skip(1).cloned().collect();
                let (path, ..) = grant(&mut kim).await;
                assert_eq!(save(&mut kim, &path, &fewer).await.location(), "/grants");
                let stale = kim.post(&act, &[]).await;
                assert!(stale.text.contains("changed since"), "{} {}", stale.status, stale.text);
                assert_eq!(grant(&mut kim).await.2, fewer);
                let rejected = act.replace("approve", "reject");
                assert_eq!(kim.post(&rejected, &[]).await.location(), "/grants");
            }
            "reject" => assert_eq!(kim.post(&act, &[]).await.location(), "/grants"),
            // By its author alone.
            _ => {
                assert_eq!(kim.post(&act, &[]).await.status, 404);
                sam.get("/grants").await;
                assert_eq!(sam.post(&act, &[]).await.location(), "/grants");
            }
        }
        assert!(!kim.get("/grants").await.text.contains("Waiting for"), "{verdict}");
    }
    // Its author may change grants no more.
    save(&mut sam, &path, &propose).await;
    let page = kim.get("/grants").await.text;
    let id = between(&page, "/grants/proposals/", "/").to_owned();
    let people = app::people::users::list(&house.instance).await.unwrap();
    let sams = people.iter().find(|one| one.address.as_deref() == Some("sam@example.com")).unwrap();
    let set = async |role: &str| {
        let ctx = house.context();
        let roles = [role.to_owned()];
        app::people::users::set_roles(&house.instance, &ctx, sams.id, &roles).await.unwrap();
    };
    set("auditor").await;
    let approve = format!("/grants/proposals/{id}/approve");
    assert_eq!(kim.post(&approve, &[]).await.status, 409);
    set("security").await;
    assert_eq!(kim.post(&approve.replace("approve", "reject"), &[]).await.location(), "/grants");
    sam.get("/grants").await;
    // Seven days later it is none any more.
    save(&mut sam, &path, &propose).await;
    let page = kim.get("/grants").await.text;
    let id = between(&page, "/grants/proposals/", "/").to_owned();
    house.wait(Duration::from_hours(7 * 24));
    let mut lee = house.invited("lee@example.com", &["security"]).await.browser;
    assert!(!lee.get("/grants").await.text.contains("Waiting for"));
    assert_eq!(lee.post(&format!("/grants/proposals/{id}/approve"), &[]).await.status, 404);
}

#[tokio::test]
async fn a_save_does_what_was_shown_or_nothing() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let (path, _, ticked) = grant(&mut sam).await;
    let fewer: Vec<String> = ticked.iter().skip(1).cloned().collect();
    let shown = effect(&mut sam, &path, &fewer).await.text;
    let shown = between(&shown, "name=\"shown\" value=\"", "\"").to_owned();
    // What is sent is other than what was shown: less was shown than this.
    let mut fields: Vec<(&str, &str)> = fewer.iter().map(|one| ("field", one.as_str())).collect();
    fields.extend([("field", "0:gender"), ("shown", &shown)]);
    let answer = sam.post(&format!("{path}/save"), &fields).await;
    assert!(answer.text.contains("changed since"), "{}", answer.text);
    assert_eq!(grant(&mut sam).await.2, ticked);
    // What the page does not offer is no choice.
    for odd in ["id", "x:id", "-1:id", "", "0:no_such_field", "9:id", "0:*"] {
        assert_eq!(effect(&mut sam, &path, &[odd.to_owned()]).await.status, 404, "{odd}");
    }
    // An object that is added.
    let page = sam.get(&format!("{path}?object=Department")).await.text;
    assert!(page.contains("Department: read") && page.contains("value=\"2:name\""), "{page}");
    let mut fields: Vec<(&str, &str)> = ticked.iter().map(|one| ("field", one.as_str())).collect();
    fields.extend([("field", "2:name"), ("more", "Department")]);
    let answer = sam.post(&format!("{path}/effect"), &fields).await.text;
    assert!(answer.contains("adds read on Department"), "{answer}");
    assert_eq!(sam.get(&format!("{path}?object=Nothing")).await.status, 200);
}

/// A policy asks for a second person where nothing is sensitive, too.
#[tokio::test]
async fn a_policy_can_want_a_second_person() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let policy = "@second_approver(\"security\")\nforbid (principal, action == \
                  Action::\"grant.apply\", resource)\nwhen { principal is Person };\n";
    let files = [("two.cedar".to_owned(), policy.as_bytes().to_vec())];
    let plan = apply::plan_files(&house.instance, &files).await.unwrap();
    let removal = apply::Removal::SomeGrantsRemain;
    apply::commit(&house.instance, &house.context(), plan, removal).await.unwrap();
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let mut kim = house.invited("kim@example.com", &["security"]).await.browser;
    let (path, _, ticked) = grant(&mut sam).await;
    let fewer: Vec<String> = ticked.iter().skip(1).cloned().collect();
    assert_eq!(save(&mut sam, &path, &fewer).await.location(), "/grants");
    assert_eq!(grant(&mut sam).await.2, ticked);
    let page = kim.get("/grants").await.text;
    let id = between(&page, "/grants/proposals/", "/").to_owned();
    let answer = kim.post(&format!("/grants/proposals/{id}/approve"), &[]).await;
    assert_eq!(answer.location(), "/grants", "{}", answer.text);
    assert_eq!(grant(&mut kim).await.2, fewer);
}

/// Two parts of one object, of which each is judged by itself: one operation is not another, and writing
/// anew is not changing.
#[tokio::test]
async fn what_one_part_has_is_opened_in_another_by_two() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let file = "[[grant]]\nclient = \"payroll\"\nprovider = \"hr\"\npurpose = \"parts\"\n\
                expires = \"2999-12-31\"\nallow = [\n\
                { object = \"Employee\", actions = [\"read\"], operations = [\"get_employee\"], \
                fields = [\"id\", \"ssn\"] },\n\
                { object = \"Employee\", actions = [\"read\"], operations = [\"list_employees\"], \
                fields = [\"id\"] },\n\
                { object = \"Employee\", actions = [\"create\"], fields = [\"firstName\", \"ssn\"] },\n\
                { object = \"Employee\", actions = [\"update\"], fields = [\"firstName\"] },\n]\n";
    let files = [("parts.toml".to_owned(), file.as_bytes().to_vec())];
    let plan = apply::plan_files(&house.instance, &files).await.unwrap();
    let removal = apply::Removal::SomeGrantsRemain;
    apply::commit(&house.instance, &house.context(), plan, removal).await.unwrap();
    let (path, _, ticked) = grant(&mut sam).await;
    // To the list, alone and beside something harmless; and to changes.
    for (more, says) in [
        (
            &["1:ssn"][..],
            "opens Employee.ssn (user.government_id.national_identification_number) for read by list_employees",
        ),
        (
            &["1:ssn", "1:jobTitle"],
            "opens Employee.ssn (user.government_id.national_identification_number) for read by",
        ),
        (
            &["3:ssn"],
            "opens Employee.ssn (user.government_id.national_identification_number) for update",
        ),
    ] {
        let shown = effect(&mut sam, &path, &with(&ticked, more)).await.text;
        assert!(shown.contains(says), "{more:?}: {shown}");
        assert!(shown.contains("Propose it") && !shown.contains("Save it"), "{more:?}");
        save(&mut sam, &path, &with(&ticked, more)).await;
        assert_eq!(grant(&mut sam).await.2, ticked, "{more:?}: one person alone");
    }
    // Nor by an object that is named already, under another name of the form.
    let mut fields: Vec<(&str, &str)> = ticked.iter().map(|one| ("field", one.as_str())).collect();
    fields.extend([("more", "Employee"), ("field", "4:id"), ("field", "4:ssn")]);
    let answer = sam.post(&format!("{path}/effect"), &fields).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("names &#34;Employee&#34; already"), "{}", answer.text);
    // And what is taken from one part is taken, though another has it.
    let fewer: Vec<String> = ticked.iter().filter(|one| *one != "0:ssn").cloned().collect();
    let shown = effect(&mut sam, &path, &fewer).await.text;
    assert!(shown.contains("removes 1 field, 1 of them personal: Employee.ssn"), "{shown}");
    let narrower: Vec<String> = ticked.iter().filter(|one| *one != "2:ssn").cloned().collect();
    assert_eq!(save(&mut sam, &path, &narrower).await.location(), "/grants");
    assert_eq!(grant(&mut sam).await.2, narrower);
}

/// What is named twice to read is closed where it is closed, and stays where it stays.
#[tokio::test]
async fn a_field_is_closed_in_one_part_alone() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let part = |operation: &str| {
        format!(
            "{{ object = \"Employee\", actions = [\"read\"], operations = [\"{operation}\"], \
             fields = [\"id\", \"ssn\"] }}"
        )
    };
    let file = format!(
        "[[grant]]\nclient = \"payroll\"\nprovider = \"hr\"\npurpose = \"parts\"\n\
         expires = \"2999-12-31\"\nallow = [{}, {}]\n",
        part("get_employee"),
        part("list_employees")
    );
    let files = [("parts.toml".to_owned(), file.into_bytes())];
    let plan = apply::plan_files(&house.instance, &files).await.unwrap();
    let removal = apply::Removal::SomeGrantsRemain;
    apply::commit(&house.instance, &house.context(), plan, removal).await.unwrap();
    let (path, _, ticked) = grant(&mut sam).await;
    let fewer: Vec<String> = ticked.iter().filter(|one| *one != "1:ssn").cloned().collect();
    let shown = effect(&mut sam, &path, &fewer).await.text;
    let says = "closes Employee.ssn (user.government_id.national_identification_number) for read by list_employees";
    assert!(shown.contains(says) && shown.contains("Save it"), "{shown}");
    assert_eq!(save(&mut sam, &path, &fewer).await.location(), "/grants");
    assert_eq!(grant(&mut sam).await.2, fewer);
}

/// Where the description has moved on, what is granted can still be taken away; and nothing that it says
/// now is accepted by that.
#[tokio::test]
async fn a_grant_is_narrowed_where_its_fields_are_declared_no_more() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let import = app::providers::Import {
        slug: "hr".parse().unwrap(),
        description: sandbox::HR_DESCRIPTION.replace("jobTitle", "position").into_bytes(),
        overlay: None,
        is_without_overlay: false,
        expects: None,
        server: None,
        is_server_described: false,
        allow_private: vec!["127.0.0.1:1".to_owned()],
        accepts_servers: false,
    };
    app::providers::import(&house.instance, &house.context(), import).await.unwrap();
    let (path, all, ticked) = grant(&mut sam).await;
    assert!(all.contains(&"0:position".to_owned()) && ticked.contains(&"0:jobTitle".to_owned()));
    let fewer: Vec<String> = ticked.iter().filter(|one| *one != "0:lastName").cloned().collect();
    let shown = effect(&mut sam, &path, &fewer).await.text;
    assert!(shown.contains("Employee.lastName") && !shown.contains("accepts"), "{shown}");
    assert_eq!(save(&mut sam, &path, &fewer).await.location(), "/grants");
    assert_eq!(grant(&mut sam).await.2, fewer);
    // To widen it, what is gone must go.
    let answer = effect(&mut sam, &path, &with(&fewer, &["0:position"])).await;
    assert!(answer.status == 422 && answer.text.contains("jobTitle"), "{}", answer.text);
}

#[tokio::test]
async fn a_new_grant_is_made_field_by_field() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let ctx = house.context();
    app::clients::create(&house.instance, &ctx, &"reports".parse().unwrap()).await.unwrap();
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let asked = "/grants/new?client=reports&target=hr&purpose=count+heads&expires=2999-12-31";
    let objects = sam.get(asked).await;
    assert!(objects.text.contains("<option>Employee</option>"), "{}", objects.text);
    let fields = sam.get(&format!("{asked}&object=Employee")).await;
    assert!(fields.text.contains("value=\"0:lastName\""), "{}", fields.text);
    for wrong in [
        "/grants/new?client=nobody&target=hr&purpose=p&expires=2999-12-31",
        "/grants/new?client=reports&target=nowhere&purpose=p&expires=2999-12-31",
        "/grants/new?client=reports&target=hr&purpose=p&expires=2999-12-31&object=Nothing",
    ] {
        let refused = sam.get(wrong).await;
        assert_eq!(refused.status, 404, "{wrong}: {}", refused.text);
        assert!(!refused.text.contains("nobody") && !refused.text.contains("nowhere"));
    }
    let chosen = |field: &'static str, purpose: &'static str, expires: &'static str| {
        vec![
            ("client", "reports"),
            ("target", "hr"),
            ("purpose", purpose),
            ("expires", expires),
            ("more", "Employee"),
            ("field", field),
        ]
    };
    for (purpose, expires) in [("", "2999-12-31"), ("p", "never"), ("p", "2001-01-01")] {
        let refused = sam.post("/grants/new/effect", &chosen("0:id", purpose, expires)).await;
        assert_eq!(refused.status, 422, "{purpose} {expires}: {}", refused.text);
    }
    let mut form = chosen("0:id", "count heads", "2999-12-31");
    let shown = sam.post("/grants/new/effect", &form).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert!(shown.text.contains("adds read on Employee"), "{}", shown.text);
    let mark = between(&shown.text, "name=\"shown\" value=\"", "\"").to_owned();
    form.push(("shown", &mark));
    let done = sam.post("/grants/new/save", &form).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let listed = app::grants::list(&house.instance).await.unwrap();
    let made = listed.iter().find(|one| one.client == "reports").unwrap();
    assert_eq!((made.grant.allow.len(), &made.grant.allow[0].fields), (1, &vec!["id".to_owned()]));
    assert_eq!(listed.len(), 2, "the others stay");
    // It is changed where it stands now, and made once.
    let again = sam.post("/grants/new/save", &form).await;
    assert_eq!(again.status, 403, "{}", again.text);

    // What is sensitive waits for a second person, who finds it as it was proposed.
    let mut form = chosen("0:ssn", "see numbers", "2999-12-31");
    let shown = sam.post("/grants/new/effect", &form).await;
    assert!(shown.text.contains("Propose it"), "{}", shown.text);
    let mark = between(&shown.text, "name=\"shown\" value=\"", "\"").to_owned();
    form.push(("shown", &mark));
    sam.post("/grants/new/save", &form).await;
    assert_eq!(app::grants::list(&house.instance).await.unwrap().len(), 2);
    let mut kim = house.invited("kim@example.com", &["security"]).await.browser;
    let page = kim.get("/grants").await.text;
    let path = between(&page, "action=\"/grants/proposals/", "\"").to_owned();
    let whole = kim.get(&format!("/grants/proposals/{}", path.trim_end_matches("/approve"))).await;
    assert!(whole.text.contains("&#34;ssn&#34;: &#34;...&#34;"), "{}", whole.text);
    let done = kim.post(&format!("/grants/proposals/{path}"), &[]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(app::grants::list(&house.instance).await.unwrap().len(), 3);
}

#[tokio::test]
async fn nobody_takes_all_places_for_proposals() {
    let house = House::open().await;
    house.administrator().await;
    seeded(&house).await;
    let mut sam = house.invited("sam@example.com", &["security"]).await.browser;
    let (path, _, ticked) = grant(&mut sam).await;
    for _ in 0..20 {
        assert_eq!(save(&mut sam, &path, &with(&ticked, &["0:ssn"])).await.status, 303);
    }
    let more = save(&mut sam, &path, &with(&ticked, &["0:ssn"])).await;
    assert_eq!(more.status, 403, "{}", more.text);
    let mut kim = house.invited("kim@example.com", &["security"]).await.browser;
    assert_eq!(save(&mut kim, &path, &with(&ticked, &["0:ssn"])).await.status, 303);
}
