//! The content of what people keep: proposals, reviews and views.

use super::Content;
use store::{ProposalRow, ReviewRow, ViewRow};

pub(super) fn proposal_content(row: &ProposalRow) -> Vec<u8> {
    let ProposalRow { id: _, author, body, created_at, expires_at } = row;
    Content::new().bytes(&author.to_bytes()).text(body).time(*created_at).time(*expires_at).0
}

pub(super) fn review_content(row: &ReviewRow) -> Vec<u8> {
    let ReviewRow { id: _, body, created_at, due_at, closed_at } = row;
    Content::new().text(body).time(*created_at).time(*due_at).optional_time(*closed_at).0
}

pub(super) fn view_content(row: &ViewRow) -> Vec<u8> {
    let ViewRow { id: _, owner, name, body, created_at } = row;
    Content::new().bytes(&owner.to_bytes()).text(name).text(body).time(*created_at).0
}
