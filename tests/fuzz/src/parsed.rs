//! Checks with a full parser that generated code is Rust, and has only the items and attributes of the generator.

use syn::{Attribute, Item};

/// Panics unless `source` is Rust that consists of types and one trait.
pub(crate) fn check(source: &str) {
    let file = match syn::parse_file(source) {
        Ok(file) => file,
        Err(error) => panic!("{error}\n{source}"),
    };
    check_attributes(&file.attrs);
    let mut traits = 0;
    for item in &file.items {
        match item {
            Item::Struct(item) => {
                check_attributes(&item.attrs);
                item.fields.iter().for_each(|field| check_attributes(&field.attrs));
            }
            Item::Enum(item) => {
                check_attributes(&item.attrs);
                for variant in &item.variants {
                    check_attributes(&variant.attrs);
                    variant.fields.iter().for_each(|field| check_attributes(&field.attrs));
                }
            }
            Item::Trait(item) => {
                check_attributes(&item.attrs);
                traits += 1;
            }
            _ => panic!("an item that is no type and no trait:\n{source}"),
        }
    }
    assert_eq!(traits, 1, "{source}");
}

fn check_attributes(attributes: &[Attribute]) {
    for attribute in attributes {
        let path: Vec<String> = attribute.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
        let path = path.join("::");
        let known =
            ["doc", "derive", "repr", "allow", "tachyon::payload", "tachyon::error", "tachyon::tachyon_rpc", "error"];
        assert!(known.contains(&path.as_str()), "the attribute {path} is not the generator's");
    }
}
