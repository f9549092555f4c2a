//! Types that a plan refuses, defaults, and messages that both readers judge.

use super::*;
use crate::schema::payload::malformed::Malformed;

fn add(plan: &mut Plan, node: Node) -> usize {
    plan.add(node).expect("a plan like this can be")
}

fn field(name: &str, of: usize) -> PlanField {
    PlanField::new(name, format!("P.{name}"), of, false)
}

#[test]
fn types_that_cannot_be_are_refused() {
    let mut plan = Plan::new();
    assert_eq!(plan.add(Node::List(0)), Err(PlanError::Unknown));
    let byte = add(&mut plan, Node::Primitive(Primitive::U8));
    let word = add(&mut plan, Node::Primitive(Primitive::U64));
    let text = add(&mut plan, Node::Text);
    let of = |fields: &[usize]| Node::Struct {
        name: "P".to_owned(),
        fields: fields.iter().map(|of| field("x", *of)).collect(),
    };
    let gap = |gap, at| Err(PlanError::Gap { name: "P".to_owned(), gap, at });
    assert_eq!(plan.add(of(&[byte, word])), gap(7, 1));
    assert_eq!(plan.add(of(&[word, byte])), gap(7, 9));
    assert_eq!(plan.add(of(&[text])), Err(PlanError::NotFixed("str".to_owned())));
    assert_eq!(plan.add(of(&[])), Err(PlanError::Size));
    assert_eq!(plan.add(Node::Array { of: word, len: usize::MAX }), Err(PlanError::Size));
    assert_eq!(plan.add(Node::Bytes(0)), Err(PlanError::Size));
    let large = add(&mut plan, Node::Bytes(MAX_HEAD));
    let head = Node::Head { name: "P".to_owned(), fields: vec![field("x", large)] };
    assert_eq!(plan.add(head), Err(PlanError::Head("P".to_owned())));
    let (mut deep, mut nested) = (text, word);
    for _ in 1..MAX_DEPTH {
        deep = add(&mut plan, Node::Option(deep));
    }
    assert_eq!(plan.add(Node::Option(deep)), Err(PlanError::TooDeep));
    for _ in 1..MAX_FIXED_DEPTH {
        nested = add(&mut plan, Node::Array { of: nested, len: 1 });
    }
    assert_eq!(plan.add(Node::Array { of: nested, len: 1 }), Err(PlanError::TooDeep));
    // A fixed type is one level of a variable type.
    add(&mut plan, Node::List(nested));
}

/// Values as text.
struct Words;

impl Build for Words {
    type Value = String;
    type Error = Malformed;

    fn fixed(&mut self, plan: &Plan, node: usize, bytes: Bytes<'_>) -> Result<String, Malformed> {
        Ok(format!("{}{:?}", plan.name(node), bytes.get()))
    }

    fn text(&mut self, text: &str) -> Result<String, Malformed> {
        Ok(text.to_owned())
    }

    fn values(&mut self, _plan: &Plan, _node: usize, bytes: Bytes<'_>) -> Result<String, Malformed> {
        Ok(format!("{bytes:?}"))
    }

    fn list(&mut self, _plan: &Plan, _node: usize, values: Vec<String>) -> Result<String, Malformed> {
        Ok(values.join(" "))
    }

    fn tensor(&mut self, _plan: &Plan, _node: usize, shape: &[usize], bytes: Bytes<'_>) -> Result<String, Malformed> {
        Ok(format!("{shape:?} {bytes:?}"))
    }

    fn none(&mut self) -> String {
        "none".to_owned()
    }

    fn default(&mut self, _plan: &Plan, _node: usize, field: usize) -> Result<String, Malformed> {
        Ok(format!("default {field}"))
    }

    fn head(&mut self, plan: &Plan, node: usize, values: Vec<String>) -> Result<String, Malformed> {
        self.list(plan, node, values)
    }
}

#[test]
fn a_default_stands_for_a_field_that_the_sender_does_not_know() {
    let mut plan = Plan::new();
    let byte = add(&mut plan, Node::Primitive(Primitive::U8));
    let text = add(&mut plan, Node::Text);
    let note = add(&mut plan, Node::Option(text));
    let fields = vec![
        field("a", byte),
        PlanField::new("b", "P.b".to_owned(), byte, true),
        PlanField::new("c", "P.c".to_owned(), text, true),
        PlanField::new("d", "P.d".to_owned(), note, true),
        field("e", note),
    ];
    let head = add(&mut plan, Node::Head { name: "P".to_owned(), fields });
    let read = |len: u8| {
        let mut message = [0; 40];
        message[0] = len;
        read_message(&plan, head, &message[..usize::from(len).max(4)], true, "", &mut Words).map_err(|p| p.to_string())
    };
    assert_eq!(read(5).unwrap(), "u8[0] default 1 default 2 default 3 none");
    assert_eq!(read(6).unwrap(), "u8[0] u8[0] default 2 default 3 none");
    assert_eq!(read(9).unwrap_err(), "P.c is cut: the head ends inside of it; declare the same fields on both sides");
    assert_eq!(read(16).unwrap_err(), "P.c is missing; if the other side may leave it out, make it optional");
    assert_eq!(read(4).unwrap_err(), "P.a is missing; if the other side may leave it out, make it optional");
    assert_eq!(plan.head_len(head), 32);
}

#[test]
fn tensors_are_lent_in_place_and_in_lists_copied() {
    let mut plan = Plan::new();
    for (of, ndim) in [(Primitive::Bool, 2), (Primitive::U8, 0), (Primitive::U8, 9)] {
        assert_eq!(plan.add(Node::Tensor { of, ndim }), Err(PlanError::Tensor));
    }
    let tensor = add(&mut plan, Node::Tensor { of: Primitive::U8, ndim: 1 });
    let many = add(&mut plan, Node::List(tensor));
    let read = |node, words: &[u64], len: usize| {
        let message = &zerocopy::IntoBytes::as_bytes(words)[..len];
        read_message(&plan, node, message, false, "it", &mut Words).map_err(|problem| problem.to_string())
    };
    assert_eq!(read(tensor, &[1, 2, 0x0807], 18).unwrap(), "[2] InPlace([7, 8])");
    assert_eq!(read(many, &[1, 16 | 18 << 32, 1, 2, 0x0807], 34).unwrap(), "[2] Private([7, 8])");
    assert_eq!(read(tensor, &[2, 2, 1, 0x0807], 26).unwrap_err(), "the number of dimensions of it is 1, and 2 came");
    assert_eq!(
        read(many, &[1, 16 | 24 << 32, 1, 9, 0], 40).unwrap_err(),
        "it gives its shape as [9] of u8, and 8 bytes of values came"
    );
}

#[test]
fn text_of_a_fixed_length_is_checked_and_numbers_are_lent() {
    let mut plan = Plan::new();
    let short = add(&mut plan, Node::Primitive(Primitive::U16));
    let text = add(&mut plan, Node::FixedText(2));
    let name = Node::Struct { name: "P".to_owned(), fields: vec![field("x", short), field("y", text)] };
    let name = add(&mut plan, name);
    let many = add(&mut plan, Node::List(name));
    let shorts = add(&mut plan, Node::List(short));
    let read = |node, message: &[u8]| {
        read_message(&plan, node, message, false, "it", &mut Words).map_err(|problem| problem.to_string())
    };
    assert_eq!(read(name, b"\0\0a\0").unwrap(), "P[0, 0, 97, 0]");
    assert_eq!(read(name, b"\0\0a\xff").unwrap_err(), "P.y is no UTF-8 from byte 1 on");
    assert_eq!(read(many, b"\0\0aa\0\0\xff\0").unwrap_err(), "it: P.y is no UTF-8 from byte 0 on");
    assert_eq!(read(many, b"\0\0aa").unwrap(), "Private([0, 0, 97, 97])");
    assert_eq!(read(shorts, b"\0\0aa").unwrap(), "InPlace([0, 0, 97, 97])");
    assert_eq!(read(shorts, b"\0").unwrap_err(), "it: 1 bytes came, which is no multiple of the 2 bytes of u16");
    assert_eq!(read(short, b"\0").unwrap_err(), "1 bytes came, and u16 has 2");
}

#[test]
fn both_ways_of_reading_judge_alike() {
    /// `make fuzz` runs more inputs.
    const INPUTS: u32 = 200_000;
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        // xorshift64: the same inputs in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()[7]
    };
    for _ in 0..INPUTS {
        let len = usize::from(next() & 63);
        let input: Vec<u8> = (0..len).map(|_| next()).collect();
        crate::fuzz::contract(&input);
    }
}
