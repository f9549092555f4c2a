//! Values with heads, read by Rust types and by a plan of the same types: both give the same value or the same error.

use crate::binding::{Build, Bytes, Node, Place, Plan, PlanField, Source, TooLong, read_message};
use crate::fuzz::Input;
use crate::schema::payload::tensor::MAX_NDIM;
use crate::schema::payload::{
    BoxedMalformed, Form, Head, HeadLayout, List, Primitive, Scratch, Tensor, TensorRef, Value, ValueType, Words,
    Writer, align8, offsets, own_list, read_list,
};

/// A payload with a field of every form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scan {
    pub(crate) taken_at: u64,
    pub(crate) live: bool,
    pub(crate) frame: String,
    pub(crate) points: Vec<[f32; 2]>,
    pub(crate) note: Option<String>,
    pub(crate) flags: Vec<bool>,
    pub(crate) tags: Vec<String>,
    pub(crate) gain: Option<f64>,
    pub(crate) image: Tensor<u16, 2>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScanRef<'a> {
    taken_at: u64,
    live: bool,
    frame: &'a str,
    points: &'a [[f32; 2]],
    note: Option<&'a str>,
    flags: &'a [bool],
    tags: List<'a, String>,
    gain: Option<f64>,
    image: TensorRef<'a, u16, 2>,
}

const AT: [usize; 10] = offsets([
    u64::HEAD,
    bool::HEAD,
    String::HEAD,
    <Vec<[f32; 2]>>::HEAD,
    <Option<String>>::HEAD,
    <Vec<bool>>::HEAD,
    <Vec<String>>::HEAD,
    <Option<f64>>::HEAD,
    <Tensor<u16, 2>>::HEAD,
]);

// As `#[tachyon::payload]` implements it.
impl Value for Scan {
    type View<'a> = ScanRef<'a>;
    type List<'a> = List<'a, Self>;
    const TYPE: &'static ValueType =
        &ValueType::Variable(&HeadLayout { name: "Scan", doc: "", len: AT[9], fields: &[] });
    const LIST_FORM: Form = Form::Value(&ValueType::List(Self::TYPE));
    const COPIES: bool = true;
    const LIST_COPIES: bool = true;
    const DEPTH: usize = 3;

    fn read<'a>(
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        _place: &'static str,
    ) -> Result<ScanRef<'a>, BoxedMalformed> {
        let mut head = Head::<[u8; AT[9]]>::open(part, "Scan")?;
        Ok(ScanRef {
            taken_at: u64::get(&mut head, AT[0], scratch, "Scan.taken_at")?,
            live: bool::get(&mut head, AT[1], scratch, "Scan.live")?,
            frame: String::get(&mut head, AT[2], scratch, "Scan.frame")?,
            points: <Vec<[f32; 2]>>::get(&mut head, AT[3], scratch, "Scan.points")?,
            note: <Option<String>>::get(&mut head, AT[4], scratch, "Scan.note")?,
            flags: <Vec<bool>>::get(&mut head, AT[5], scratch, "Scan.flags")?,
            tags: <Vec<String>>::get(&mut head, AT[6], scratch, "Scan.tags")?,
            gain: <Option<f64>>::get(&mut head, AT[7], scratch, "Scan.gain")?,
            image: <Tensor<u16, 2>>::get(&mut head, AT[8], scratch, "Scan.image")?,
        })
    }

    fn len(view: ScanRef<'_>) -> usize {
        let end = String::grow(align8(AT[9]), view.frame);
        let end = <Vec<[f32; 2]>>::grow(end, view.points);
        let end = <Option<String>>::grow(end, view.note);
        let end = <Vec<bool>>::grow(end, view.flags);
        let end = <Vec<String>>::grow(end, view.tags);
        let end = <Option<f64>>::grow(end, view.gain);
        <Tensor<u16, 2>>::grow(end, view.image)
    }

    fn write(view: ScanRef<'_>, out: &mut [u8]) {
        let mut writer = Writer::new(out, AT[9]);
        u64::put(&mut writer, AT[0], view.taken_at);
        bool::put(&mut writer, AT[1], view.live);
        String::put(&mut writer, AT[2], view.frame);
        <Vec<[f32; 2]>>::put(&mut writer, AT[3], view.points);
        <Option<String>>::put(&mut writer, AT[4], view.note);
        <Vec<bool>>::put(&mut writer, AT[5], view.flags);
        <Vec<String>>::put(&mut writer, AT[6], view.tags);
        <Option<f64>>::put(&mut writer, AT[7], view.gain);
        <Tensor<u16, 2>>::put(&mut writer, AT[8], view.image);
    }

    fn view(&self) -> ScanRef<'_> {
        let Self { taken_at, live, frame, points, note, flags, tags, gain, image } = self;
        let (taken_at, live, note, tags, gain) = (*taken_at, *live, note.as_deref(), List::from(tags), *gain);
        ScanRef { taken_at, live, frame, points, note, flags, tags, gain, image: image.view() }
    }

    fn own(view: ScanRef<'_>) -> Self {
        let ScanRef { taken_at, live, frame, points, note, flags, tags, gain, image } = view;
        Self {
            taken_at,
            live,
            frame: frame.to_owned(),
            points: points.to_vec(),
            note: note.map(str::to_owned),
            flags: flags.to_vec(),
            tags: tags.to_vec(),
            gain,
            image: image.into_owned(),
        }
    }

    fn shrink<'s, 'l: 's>(view: ScanRef<'l>) -> ScanRef<'s> {
        view
    }

    fn read_list<'a>(
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<List<'a, Self>, BoxedMalformed> {
        read_list(part, scratch, place)
    }

    fn list_len(list: List<'_, Self>) -> usize {
        list.part_len()
    }

    fn write_list(list: List<'_, Self>, out: &mut [u8]) {
        list.write(out);
    }

    fn list(values: &[Self]) -> List<'_, Self> {
        List::from(values)
    }

    fn own_list(list: List<'_, Self>) -> Vec<Self> {
        own_list(list)
    }

    fn shrink_list<'s, 'l: 's>(list: List<'l, Self>) -> List<'s, Self> {
        list
    }
}

/// Any value, as a plan reads it.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    /// The bytes of fixed values, which compare equal also for NaN.
    Bytes(Vec<u8>),
    Text(String),
    Some(Box<Tree>),
    None,
    Many(Vec<Tree>),
    /// A shape, and the bytes of the values.
    Tensor(Vec<usize>, Vec<u8>),
}

/// A Rust value as a tree.
trait Shown {
    fn tree(&self) -> Tree;
}

impl Shown for String {
    fn tree(&self) -> Tree {
        Tree::Text(self.clone())
    }
}

impl<T: Shown> Shown for Option<T> {
    fn tree(&self) -> Tree {
        self.as_ref().map_or(Tree::None, |value| Tree::Some(Box::new(value.tree())))
    }
}

impl Shown for f64 {
    fn tree(&self) -> Tree {
        Tree::Bytes(self.to_le_bytes().to_vec())
    }
}

impl Shown for bool {
    fn tree(&self) -> Tree {
        Tree::Bytes(vec![u8::from(*self)])
    }
}

impl Shown for Vec<bool> {
    fn tree(&self) -> Tree {
        Tree::Bytes(self.iter().copied().map(u8::from).collect())
    }
}

impl Shown for Vec<u16> {
    fn tree(&self) -> Tree {
        Tree::Bytes(self.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

impl Shown for Tensor<u16, 2> {
    fn tree(&self) -> Tree {
        let bytes = self.as_slice().iter().flat_map(|value| value.to_le_bytes());
        Tree::Tensor(self.shape().to_vec(), bytes.collect())
    }
}

/// The tree of a list of variable values.
fn many<T: Shown>(values: &[T]) -> Tree {
    Tree::Many(values.iter().map(Shown::tree).collect())
}

impl Shown for Vec<String> {
    fn tree(&self) -> Tree {
        many(self)
    }
}

impl Shown for Vec<Vec<u16>> {
    fn tree(&self) -> Tree {
        many(self)
    }
}

impl Shown for Vec<Tensor<u16, 2>> {
    fn tree(&self) -> Tree {
        many(self)
    }
}

impl Shown for Vec<Scan> {
    fn tree(&self) -> Tree {
        many(self)
    }
}

impl Shown for Scan {
    fn tree(&self) -> Tree {
        let points = self.points.iter().flatten().flat_map(|value| value.to_le_bytes());
        Tree::Many(vec![
            Tree::Bytes(self.taken_at.to_le_bytes().to_vec()),
            self.live.tree(),
            self.frame.tree(),
            Tree::Bytes(points.collect()),
            self.note.tree(),
            self.flags.tree(),
            self.tags.tree(),
            self.gain.tree(),
            self.image.tree(),
        ])
    }
}

struct Trees;

impl Build for Trees {
    type Value = Tree;
    type Error = BoxedMalformed;

    fn fixed(&mut self, _plan: &Plan, _node: usize, bytes: Bytes<'_>) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::Bytes(bytes.get().to_vec()))
    }

    fn text(&mut self, text: &str) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn values(&mut self, _plan: &Plan, _node: usize, bytes: Bytes<'_>) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::Bytes(bytes.get().to_vec()))
    }

    fn list(&mut self, _plan: &Plan, _node: usize, values: Vec<Tree>) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::Many(values))
    }

    fn tensor(
        &mut self,
        _plan: &Plan,
        _node: usize,
        shape: &[usize],
        bytes: Bytes<'_>,
    ) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::Tensor(shape.to_vec(), bytes.get().to_vec()))
    }

    fn some(&mut self, value: Tree) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::Some(Box::new(value)))
    }

    fn none(&mut self) -> Tree {
        Tree::None
    }

    fn default(&mut self, _plan: &Plan, _node: usize, _field: usize) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::None)
    }

    fn head(&mut self, _plan: &Plan, _node: usize, values: Vec<Tree>) -> Result<Tree, BoxedMalformed> {
        Ok(Tree::Many(values))
    }
}

/// The error of a tree that does not fit the plan; a tree that the plan has read does.
#[derive(Debug)]
struct Unwritten;

impl From<TooLong> for Unwritten {
    fn from(_: TooLong) -> Self {
        Self
    }
}

impl Source for Trees {
    type Value = Tree;
    type Error = Unwritten;

    fn fixed(
        &mut self,
        _plan: &Plan,
        _node: usize,
        value: &Tree,
        _place: &Place<'_>,
        out: &mut [u8],
    ) -> Result<(), Unwritten> {
        let Tree::Bytes(bytes) = value else { return Err(Unwritten) };
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn text(&mut self, value: &Tree, _place: &Place<'_>, out: &mut Vec<u8>) -> Result<(), Unwritten> {
        let Tree::Text(text) = value else { return Err(Unwritten) };
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn values(
        &mut self,
        _plan: &Plan,
        _node: usize,
        value: &Tree,
        _place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unwritten> {
        let Tree::Bytes(bytes) = value else { return Err(Unwritten) };
        out.extend_from_slice(bytes);
        Ok(())
    }

    fn list(&mut self, _plan: &Plan, _node: usize, value: &Tree, _place: &Place<'_>) -> Result<Vec<Tree>, Unwritten> {
        let Tree::Many(values) = value else { return Err(Unwritten) };
        Ok(values.clone())
    }

    fn tensor(
        &mut self,
        _plan: &Plan,
        _node: usize,
        value: &Tree,
        _place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<[usize; MAX_NDIM], Unwritten> {
        let Tree::Tensor(shape, bytes) = value else { return Err(Unwritten) };
        out.extend_from_slice(bytes);
        let mut padded = [0; MAX_NDIM];
        padded[..shape.len()].copy_from_slice(shape);
        Ok(padded)
    }

    fn option(&mut self, value: &Tree) -> Result<Option<Tree>, Unwritten> {
        match value {
            Tree::Some(value) => Ok(Some((**value).clone())),
            Tree::None => Ok(None),
            _ => Err(Unwritten),
        }
    }

    fn head(&mut self, plan: &Plan, node: usize, value: &Tree, place: &Place<'_>) -> Result<Vec<Tree>, Unwritten> {
        Source::list(self, plan, node, value, place)
    }
}

/// A plan, and the numbers of the types that the target reads.
fn plan() -> (Plan, [usize; 10]) {
    let mut plan = Plan::new();
    let mut add = |node| plan.add(node).expect("a plan like this can be");
    let word = add(Node::Primitive(Primitive::U64));
    let flag = add(Node::Primitive(Primitive::Bool));
    let short = add(Node::Primitive(Primitive::U16));
    let single = add(Node::Primitive(Primitive::F32));
    let double = add(Node::Primitive(Primitive::F64));
    let point = add(Node::Array { of: single, len: 2 });
    let text = add(Node::Text);
    let image = add(Node::Tensor { of: Primitive::U16, ndim: 2 });
    let fields = [
        ("taken_at", word),
        ("live", flag),
        ("frame", text),
        ("points", add(Node::List(point))),
        ("note", add(Node::Option(text))),
        ("flags", add(Node::List(flag))),
        ("tags", add(Node::List(text))),
        ("gain", add(Node::Option(double))),
        ("image", image),
    ];
    let field = |(name, of): (&str, usize)| PlanField::new(name, format!("Scan.{name}"), of, false);
    let scan = add(Node::Head { name: "Scan".to_owned(), fields: fields.into_iter().map(field).collect() });
    let shorts = add(Node::List(short));
    let roots = [
        scan,
        add(Node::List(scan)),
        add(Node::Option(scan)),
        text,
        add(Node::List(text)),
        add(Node::List(shorts)),
        add(Node::List(flag)),
        double,
        image,
        add(Node::List(image)),
    ];
    (plan, roots)
}

/// The name of whole messages.
const PLACE: &str = "the request";

/// Reads the first `len` bytes of `words` as a message, by the type and by the plan.
fn judge<T: Value + Shown>(plan: &Plan, node: usize, words: &[u64], len: usize) {
    let message = &zerocopy::IntoBytes::as_bytes(words)[..len];
    let typed = T::read_message(message, &mut Words::default().room(len), PLACE).map(|view| T::own(view).tree());
    let private = T::read_message(message, &mut Scratch::private(), PLACE).map(|view| T::own(view).tree());
    assert_eq!(typed, private, "copied and in place");
    for is_private in [false, true] {
        let planned = read_message(plan, node, message, is_private, PLACE, &mut Trees);
        assert_eq!(typed, planned, "by the type and by the plan");
        assert_eq!(typed.as_ref().err().map(ToString::to_string), planned.err().map(|error| error.to_string()));
    }
    let Ok(tree) = typed else { return };
    // Both write the value as the same bytes.
    let value = T::read_message(message, &mut Scratch::private(), PLACE).map(T::own).expect("it was read before");
    let mut typed = vec![u8::MAX; T::message_len(value.view())];
    T::write_message(value.view(), &mut typed);
    let mut planned = Vec::new();
    plan.write_message(node, &tree, &Place::Root(PLACE), &mut Trees, &mut planned).expect("it was read before");
    assert_eq!(typed, planned, "written");
    // The received message may lack optional fields, two pairs of each scan, and the zeros behind the last part.
    let scans = match &value.tree() {
        Tree::Many(values) => values.len() + 1,
        _ => 1,
    };
    assert!(planned.len() <= len + 7 + 24 * scans, "{} bytes of {len}", planned.len());
}

/// The message of a value of each type, which the input then changes.
fn sample(input: &Input<'_>, root: usize) -> Vec<u8> {
    fn written<T: Value>(value: &T) -> Vec<u8> {
        let mut out = vec![0; T::message_len(value.view())];
        T::write_message(value.view(), &mut out);
        out
    }
    let text = |len: usize| "aé".chars().cycle().take(len).collect::<String>();
    let count = || usize::from(input.byte() & 3);
    let image = |height, width| Tensor::new([height, width], vec![7; height * width]).expect("a value for each index");
    let scan = || Scan {
        taken_at: 7,
        live: true,
        frame: text(count()),
        points: vec![[0.5, f32::NAN]; count()],
        note: (count() > 1).then(|| text(count())),
        flags: vec![true; count()],
        tags: vec![text(count()); count()],
        gain: (count() > 1).then_some(1.5),
        image: image(count(), count()),
    };
    match root {
        0 => written(&scan()),
        1 => written(&vec![scan(), scan()]),
        2 => written(&Some(scan())),
        3 => written(&text(count())),
        4 => written(&vec![text(count()), String::new(), text(count())]),
        5 => written(&vec![vec![1_u16; count()], vec![], vec![7; 5]]),
        6 => written(&vec![true, false, true]),
        7 => written(&0.5_f64),
        8 => written(&image(count(), count())),
        _ => written(&vec![image(count(), count()), image(1, 0)]),
    }
}

/// Changes bytes of a message, or takes the message from the input, and reads the message by the type and by the plan.
pub fn contract(data: &[u8]) {
    let input = &Input::new(data);
    let how = input.byte();
    let root = match how & 7 {
        7 => 7 + usize::from(input.byte() % 3),
        root => usize::from(root),
    };
    let mut message = sample(input, root);
    for _ in 0..how >> 3 & 7 {
        if message.is_empty() {
            break;
        }
        let (at, by) = (usize::from(input.short()) % message.len(), input.byte());
        match input.byte() & 3 {
            // Changes a byte, a bit, or a word of four bytes, or copies a pair.
            0 => message[at] = by,
            1 => message[at] ^= 1 << (by & 7),
            2 => {
                let word = input.word() % 256;
                let at = at / 4 * 4;
                if let Some(room) = message.get_mut(at..at + 4) {
                    room.copy_from_slice(&word.to_le_bytes());
                }
            }
            _ => {
                let from = usize::from(by) * 8;
                if from + 8 <= message.len() && at / 8 * 8 + 8 <= message.len() {
                    message.copy_within(from..from + 8, at / 8 * 8);
                }
            }
        }
    }
    match how >> 6 {
        1 => message.truncate(usize::from(input.short()) % (message.len() + 1)),
        2 => message.extend(input.slice(64)),
        3 => message = input.slice(usize::MAX).to_vec(),
        _ => {}
    }
    let (plan, roots) = plan();
    let mut words = vec![0_u64; message.len().div_ceil(8)];
    zerocopy::IntoBytes::as_mut_bytes(&mut words[..])[..message.len()].copy_from_slice(&message);
    let (node, len) = (roots[root], message.len());
    match root {
        0 => judge::<Scan>(&plan, node, &words, len),
        1 => judge::<Vec<Scan>>(&plan, node, &words, len),
        2 => judge::<Option<Scan>>(&plan, node, &words, len),
        3 => judge::<String>(&plan, node, &words, len),
        4 => judge::<Vec<String>>(&plan, node, &words, len),
        5 => judge::<Vec<Vec<u16>>>(&plan, node, &words, len),
        6 => judge::<Vec<bool>>(&plan, node, &words, len),
        8 => judge::<Tensor<u16, 2>>(&plan, node, &words, len),
        9 => judge::<Vec<Tensor<u16, 2>>>(&plan, node, &words, len),
        _ => judge::<f64>(&plan, node, &words, len),
    }
}
