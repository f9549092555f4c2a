use super::*;

/// A namespace whose eight bytes all differ.
const NAMESPACE: u64 = u64::from_le_bytes(*b"abcdefgh");

fn geometries(kind: Kind, capacities: &[usize]) -> Vec<Geometry> {
    capacities.iter().map(|capacity| Geometry::new(*capacity, kind.carries()).unwrap()).collect()
}

fn offer() -> Offer {
    Offer { kind: Kind::Rpc, role: Role::Sink, geometries: geometries(Kind::Rpc, &[1 << 16, 1 << 12]) }
}

fn hello_bytes() -> Vec<u8> {
    write_hello(Hello {
        kind: Kind::Bus,
        role: Role::Source,
        probe: false,
        wishes: [None; 2],
        time_namespace: NAMESPACE,
    })
    .to_vec()
}

fn welcome_bytes() -> Vec<u8> {
    write_welcome(&offer(), Role::Sink).to_vec()
}

/// Asserts that the reader refuses the changed bytes by the given rule.
macro_rules! assert_broken {
    ($bytes:expr, $change:expr, $read:expr, $rule:pat) => {{
        let mut bytes: Vec<u8> = $bytes;
        let change: fn(&mut Vec<u8>) = $change;
        change(&mut bytes);
        let error = $read(&bytes).unwrap_err();
        assert!(matches!(error, $rule), "{error:?}");
    }};
}

#[test]
fn the_bytes_are_those_of_the_document() {
    assert_eq!(hello_bytes(), b"TCHY\x02\0\x01\0\x01\x01\0\0\0\0\0\0abcdefgh");
    assert_eq!(write_ready().as_ref(), b"TCHY\x02\0\x04\0");
    let welcome = welcome_bytes();
    assert_eq!(welcome.len(), 48);
    assert_eq!(&welcome[..16], b"TCHY\x02\0\x02\0\x02\x02\x02\0\0\0\0\0");
    assert_eq!(welcome[16..24], 65536_u64.to_le_bytes());
    // The header's page, 256 slots of 256 bytes, and the arena.
    assert_eq!(welcome[24..32], (4096 + 256 * 256 + 65536_u64).to_le_bytes());
    let reject = write_reject(Code::Busy, 9, "no");
    assert_eq!(reject.as_ref().len(), 136);
    assert_eq!(&reject.as_ref()[..18], b"TCHY\x02\0\x03\0\x05\x09\x02\0\0\0\0\0no");
}

#[test]
fn written_messages_are_read_back() {
    for kind in [Kind::Bus, Kind::Rpc] {
        for role in [Role::Either, Role::Source, Role::Sink] {
            for wish in [None, Geometry::new(1, kind.carries()).ok(), Geometry::new(1 << 31, kind.carries()).ok()] {
                let hello = Hello { kind, role, probe: false, wishes: [wish, None], time_namespace: NAMESPACE };
                assert_eq!(read_hello(write_hello(hello).as_ref()).unwrap(), hello);
                let hello = Hello { kind, role, probe: false, wishes: [None, wish], time_namespace: 0 };
                assert_eq!(read_hello(write_hello(hello).as_ref()).unwrap(), hello);
            }
        }
    }
    let welcome = Welcome { role: Role::Sink, geometries: offer().geometries };
    assert_eq!(read_answer(&welcome_bytes(), Kind::Rpc).unwrap(), Answer::Welcome(welcome));
    let single = Offer { kind: Kind::Bus, role: Role::Either, geometries: geometries(Kind::Bus, &[64]) };
    let bytes = write_welcome(&single, Role::Source);
    let Answer::Welcome(read) = read_answer(bytes.as_ref(), Kind::Bus).unwrap() else {
        panic!("a welcome was written")
    };
    assert_eq!(read, Welcome { role: Role::Source, geometries: geometries(Kind::Bus, &[64]) });
    read_ready(write_ready().as_ref()).unwrap();
    let codes = [
        Code::Other,
        Code::WrongKind,
        Code::Version,
        Code::RoleClash,
        Code::NotAllowed,
        Code::Busy,
        Code::OtherTimeNamespace,
    ];
    for (number, code) in (0..).zip(codes) {
        let bytes = write_reject(code, 3, "why");
        assert_eq!(bytes[8], number);
        let reject = Reject { version: PROTOCOL_VERSION, code, detail: 3, text: "why".into() };
        assert_eq!(read_answer(&bytes, Kind::Bus).unwrap(), Answer::Reject(reject));
    }
}

#[test]
fn every_broken_rule_of_a_hello_is_named() {
    assert_broken!(hello_bytes(), |b| b.truncate(7), read_hello, ProtocolError::Length { expected: 8, found: 7 });
    assert_broken!(hello_bytes(), |b| b.push(0), read_hello, ProtocolError::Length { expected: 24, found: 25 });
    assert_broken!(hello_bytes(), |b| b.truncate(8), read_hello, ProtocolError::Length { expected: 24, found: 8 });
    assert_broken!(
        hello_bytes(),
        |b| b[3] = b'X',
        read_hello,
        ProtocolError::Magic { found: [b'T', b'C', b'H', b'X'] }
    );
    assert_broken!(hello_bytes(), |b| b[5] = 1, read_hello, ProtocolError::Version { ours: 2, theirs: 258 });
    assert_broken!(hello_bytes(), |b| b[6] = 2, read_hello, ProtocolError::Tag { expected: 1, found: 2 });
    assert_broken!(hello_bytes(), |b| b[7] = 1, read_hello, ProtocolError::Reserved);
    assert_broken!(hello_bytes(), |b| b[8] = 0, read_hello, ProtocolError::Kind { found: 0 });
    assert_broken!(hello_bytes(), |b| b[8] = 3, read_hello, ProtocolError::Kind { found: 3 });
    assert_broken!(hello_bytes(), |b| b[9] = 3, read_hello, ProtocolError::Role { found: 3 });
    assert_broken!(hello_bytes(), |b| b[10] = 33, read_hello, ProtocolError::Capacity(_));
    assert_broken!(hello_bytes(), |b| b[11] = 255, read_hello, ProtocolError::Capacity(_));
    assert_broken!(hello_bytes(), |b| b[12] = 2, read_hello, ProtocolError::Reserved);
    assert_broken!(hello_bytes(), |b| b[15] = 1, read_hello, ProtocolError::Reserved);
}

#[test]
fn another_version_is_told_before_its_length() {
    let newer = |b: &mut Vec<u8>| {
        b[4] = 3;
        b.extend([0; 40]);
    };
    assert_broken!(hello_bytes(), newer, read_hello, ProtocolError::Version { ours: 2, theirs: 3 });
    // The hello of version 1 has 16 bytes.
    let older = |b: &mut Vec<u8>| {
        b[4] = 1;
        b.truncate(16);
    };
    assert_broken!(hello_bytes(), older, read_hello, ProtocolError::Version { ours: 2, theirs: 1 });
}

#[test]
fn every_broken_rule_of_a_welcome_is_named() {
    let read = |bytes: &[u8]| read_answer(bytes, Kind::Rpc);
    assert_broken!(welcome_bytes(), |b| b.truncate(47), read, ProtocolError::Length { expected: 48, found: 47 });
    assert_broken!(welcome_bytes(), |b| b[6] = 9, read, ProtocolError::Tag { expected: 2, found: 9 });
    assert_broken!(welcome_bytes(), |b| b[8] = 1, read, ProtocolError::Kind { found: 1 });
    assert_broken!(welcome_bytes(), |b| b[9] = 7, read, ProtocolError::Role { found: 7 });
    assert_broken!(welcome_bytes(), |b| b[10] = 1, read, ProtocolError::RingCount { expected: 2, found: 1 });
    assert_broken!(welcome_bytes(), |b| b[10] = 255, read, ProtocolError::RingCount { expected: 2, found: 255 });
    assert_broken!(welcome_bytes(), |b| b[11] = 2, read, ProtocolError::Reserved);
    assert_broken!(welcome_bytes(), |b| b[15] = 1, read, ProtocolError::Reserved);
    assert_broken!(welcome_bytes(), |b| b[16] = 1, read, ProtocolError::Capacity(_));
    assert_broken!(welcome_bytes(), |b| b[16..24].fill(0), read, ProtocolError::Capacity(_));
    assert_broken!(welcome_bytes(), |b| b[16..24].fill(255), read, ProtocolError::Capacity(_));
    assert_broken!(welcome_bytes(), |b| b[24] ^= 1, read, ProtocolError::SegmentLength { .. });
    assert_broken!(welcome_bytes(), |b| b[40..48].fill(255), read, ProtocolError::SegmentLength { .. });
}

#[test]
fn a_welcome_to_a_bus_has_no_second_ring() {
    let single = Offer { kind: Kind::Bus, role: Role::Sink, geometries: geometries(Kind::Bus, &[64]) };
    let bytes = write_welcome(&single, Role::Sink).to_vec();
    assert_broken!(bytes, |b| b[47] = 1, |bytes: &[u8]| read_answer(bytes, Kind::Bus), ProtocolError::Reserved);
}

#[test]
fn a_reject_of_any_version_is_understood() {
    let mut bytes = write_reject(Code::Version, 0, "too old").as_ref().to_vec();
    bytes[4] = 7;
    let Answer::Reject(reject) = read_answer(&bytes, Kind::Bus).unwrap() else { panic!("a reject was written") };
    assert_eq!(reject, Reject { version: 7, code: Code::Version, detail: 0, text: "too old".into() });
}

#[test]
fn a_reject_cannot_smuggle_control_characters_or_run_over() {
    let mut bytes = write_reject(Code::Other, 0, "\x1b[31mred\n").as_ref().to_vec();
    bytes[10] = 255;
    bytes[135] = 0xff;
    let Answer::Reject(reject) = read_answer(&bytes, Kind::Bus).unwrap() else { panic!("a reject was written") };
    assert!(!reject.text.contains(char::is_control), "{:?}", reject.text);
    assert!(reject.text.contains("[31mred"));
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let text = format!("{}é", "x".repeat(TEXT_LEN - 1));
    let bytes = write_reject(Code::Other, 0, &text);
    let Answer::Reject(reject) = read_answer(bytes.as_ref(), Kind::Bus).unwrap() else {
        panic!("a reject was written")
    };
    assert_eq!(reject.text, "x".repeat(TEXT_LEN - 1));
}

#[test]
fn no_message_of_random_bytes_is_taken_for_a_good_one() {
    use proptest::prelude::*;
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..200))| {
        prop_assert!(read_hello(&bytes).is_err());
        prop_assert!(read_answer(&bytes, Kind::Bus).is_err());
        prop_assert!(read_ready(&bytes).is_err());
    });
}

#[test]
fn a_welcome_with_damaged_bytes_is_refused_or_equal() {
    use proptest::prelude::*;
    let good = read_answer(&welcome_bytes(), Kind::Rpc).unwrap();
    proptest!(|(at in 0usize..48, byte in any::<u8>())| {
        let mut bytes = welcome_bytes();
        let same = bytes[at] == byte;
        bytes[at] = byte;
        match read_answer(&bytes, Kind::Rpc) {
            // The role has three possible values; every other byte of this message has one right value.
            Ok(read) => prop_assert!(same || at == 9, "byte {at} = {byte}: {read:?} for {good:?}"),
            Err(_) => prop_assert!(!same),
        }
    });
}
