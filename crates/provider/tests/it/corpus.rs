//! Forty descriptions of real vendors, which lie beside the project and are not part of it.

use provider::{LoadLimits, load};
use std::path::{Path, PathBuf};

pub fn corpus() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openapi-corpus");
    if path.join("INDEX.tsv").is_file() {
        return Some(path);
    }
    eprintln!("skipped: the corpus of real descriptions is not beside the project");
    None
}

#[test]
fn all_load_with_the_operations_that_were_counted() {
    let Some(corpus) = corpus() else { return };
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    let mut lines = index.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| header.iter().position(|one| *one == name).unwrap();
    let (file, operations) = (column("file"), column("operations"));
    let mut count = 0;
    let mut without_object = 0;
    let mut reads = 0;
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let source = std::fs::read(corpus.join(cells[file])).unwrap();
        let provider = load(&source, None, &LoadLimits::default())
            .unwrap_or_else(|error| panic!("{}: {error}", cells[file]));
        assert_eq!(
            provider.operations.len(),
            cells[operations].parse::<usize>().unwrap(),
            "{}",
            cells[file]
        );
        let mut ids: Vec<&str> = provider.operations.iter().map(|one| one.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), provider.operations.len(), "{}", cells[file]);
        for operation in provider.operations.iter().filter(|one| one.method.is_safe()) {
            reads += 1;
            without_object += usize::from(operation.object.is_none());
        }
        count += 1;
    }
    assert_eq!(count, 40);
    // openapi.md: 98.97 % of reads declare a shape; lists of scalars and files are no objects.
    assert!(without_object * 10 < reads, "{without_object} of {reads}");
}

/// The same bytes give the same model.
#[test]
fn loading_is_deterministic() {
    let Some(corpus) = corpus() else { return };
    let source = std::fs::read(corpus.join("bamboohr.yaml")).unwrap();
    let shown = |_| format!("{:?}", load(&source, None, &LoadLimits::default()).unwrap());
    assert_eq!(shown(0), shown(1));
}

/// Objects that an integrator would expect.
#[test]
fn objects_have_expected_names_and_fields() {
    let Some(corpus) = corpus() else { return };
    for (file, operation, object, field) in [
        ("xero-accounting.yaml", "getInvoices", "Invoice", "InvoiceNumber"),
        ("xero-accounting.yaml", "getContact", "Contact", "EmailAddress"),
        ("square.json", "ListCustomers", "Customer", "email_address"),
        ("asana.yaml", "getTask", "TaskResponse", "notes"),
        ("okta-management.yaml", "getUser", "UserGetSingleton", "status"),
        ("adyen-management-v3.yaml", "get-merchants-merchantId", "Merchant", "id"),
    ] {
        let source = std::fs::read(corpus.join(file)).unwrap();
        let provider = load(&source, None, &LoadLimits::default()).unwrap();
        let found = provider.operations.iter().find(|one| one.id == operation);
        let found = found.unwrap_or_else(|| panic!("{file}: no {operation}"));
        let named = found.object.and_then(|id| provider.object(id)).unwrap();
        assert_eq!(named.name, object, "{file} {operation}");
        assert!(
            named.fields.iter().any(|one| one.path == field),
            "{file} {object}: {:?}",
            named.fields.iter().map(|one| &one.path).collect::<Vec<_>>()
        );
    }
}
