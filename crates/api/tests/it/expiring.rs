//! What home says of keys, tokens, grants and certificates that end soon, and to whom.

use crate::{
    browser::{House, Person},
    pages::furnished,
};
use app::apply::{self, Removal};
use std::time::Duration;
use types::Clock as _;

const DAY: Duration = Duration::from_hours(24);

async fn token(house: &House, person: &mut Person, name: &str, days: &str) -> String {
    person.browser.get("/account").await;
    let role = if name == "by ada" { "administrator" } else { "read-only" };
    let fields = [("name", name), ("roles", role), ("days", days)];
    let made = person.browser.post("/account/tokens", &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let all = app::people::tokens::list(&house.instance, None).await.unwrap();
    all.iter().find(|one| one.name == name).unwrap().id.to_string()
}

/// A grant whose last day is so many days away, beside those of the demo.
async fn grant(house: &House, purpose: &str, days: u32) {
    let last_day = (house.clock.now() + DAY * days).to_string();
    let file = format!(
        "[[grant]]\nclient = \"payroll\"\nprovider = \"hr\"\npurpose = \"{purpose}\"\nexpires = \
         \"{}\"\nallow = [{{ object = \"Employee\", actions = [\"read\"], fields = [\"id\"] }}]\n",
        &last_day[..10]
    );
    let files = [("a.toml".to_owned(), file.into_bytes())];
    let plan = apply::plan_files(&house.instance, &files).await.unwrap();
    let context = house.context();
    apply::commit(&house.instance, &context, plan, Removal::SomeGrantsRemain).await.unwrap();
}

/// The lines of the list, in their order.
fn lines(home: &str) -> Vec<String> {
    let lines = home.split("<tr><td data-label=\"What\">").skip(1);
    lines.map(|line| line.split("</tr>").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_ends_soon_is_told_to_those_who_see_it_and_the_soonest_first() {
    let house = furnished().await;
    house.set_certificate(DAY * 5);
    let mut ada = house.administrator().await;
    let mut rea = house.invited("rea@example.com", &["read-only"]).await;
    let of_rea = token(&house, &mut rea, "nightly & co", "7").await;
    let late = token(&house, &mut rea, "for long", "90").await;
    let of_ada = token(&house, &mut ada, "by ada", "9").await;
    grant(&house, "autumn", 10).await;

    let home = ada.browser.get("/").await.text;
    let listed = lines(&home);
    let place = |what: &str| listed.iter().position(|line| line.contains(what));
    let order = ["API key<", "Certificate<", &of_rea, "by ada", "to autumn"].map(place);
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}: {listed:#?}");
    // Those of others by id and owner, and not by what they call them.
    assert!(home.contains("rea@example.com") && !home.contains("nightly"), "{home}");
    assert!(!home.contains(&late) && !home.contains("for long") && !home.contains(&of_ada));

    let home = rea.browser.get("/").await.text;
    let home = lines(&home).concat();
    assert!(home.contains("nightly &#38; co") && home.contains("href=\"/account\""), "{home}");
    assert!(home.contains("to autumn") && home.contains("API key<"), "{home}");
    for hidden in ["Certificate<", "by ada", &of_ada, "ada@example.com", "for long"] {
        assert!(!home.contains(hidden), "{hidden}: {home}");
    }
    // Who may see people ends no tokens of theirs, and is told of none.
    let mut sue = house.invited("sue@example.com", &["auditor"]).await;
    let home = sue.browser.get("/").await.text;
    assert!(home.contains("Certificate<") && !home.contains("Personal access token<"), "{home}");

    // Each link leads to a page that its reader sees.
    for person in [&mut ada, &mut rea, &mut sue] {
        let home = person.browser.get("/").await.text;
        for line in lines(&home) {
            let link = crate::browser::between(&line, "href=\"", "\"");
            assert_eq!(person.browser.get(link).await.status, 200, "{line}");
        }
    }

    // What ended is no more in force; the certificate is shown all the same, and says so.
    house.wait(DAY * 8);
    let mut sam = house.invited("sam@example.com", &["security"]).await;
    let home = sam.browser.get("/").await.text;
    let listed = lines(&home);
    assert!(listed[0].contains("Certificate<") && listed[0].contains("ended "), "{listed:#?}");
    assert!(!home.contains(&of_rea) && home.contains(&of_ada), "{home}");
}

/// A token ends with its owner, and is told of no more.
#[tokio::test]
async fn tokens_of_those_who_are_kept_out_are_not_told_of() {
    let house = furnished().await;
    let mut ada = house.administrator().await;
    let mut rea = house.invited("rea@example.com", &["read-only"]).await;
    let id = token(&house, &mut rea, "nightly", "7").await;
    assert!(ada.browser.get("/").await.text.contains(&id));
    let user = app::people::users::find(&house.instance, "rea@example.com").await.unwrap();
    let context = house.context();
    app::people::users::set_disabled(&house.instance, &context, user, true).await.unwrap();
    assert!(!ada.browser.get("/").await.text.contains(&id));
}
