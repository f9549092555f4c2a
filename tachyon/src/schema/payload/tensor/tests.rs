use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;
use crate::schema::payload::scratch::Words;

fn image() -> Tensor<f32, 2> {
    Tensor::new([2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).expect("six values")
}

/// The bytes of a tensor at an address that is a multiple of 8.
fn message<T: Number, const N: usize>(tensor: &Tensor<T, N>) -> (Vec<u64>, usize) {
    let len = Tensor::message_len(tensor.view());
    let mut words = vec![u64::MAX; len.div_ceil(8)];
    Tensor::write_message(tensor.view(), &mut words.as_mut_bytes()[..len]);
    (words, len)
}

fn refusal<T: Number, const N: usize>(bytes: &[u8]) -> String {
    match Tensor::<T, N>::read_message(bytes, &mut Words::default().room(bytes.len()), "argument `image` of f") {
        Ok(_) => panic!("{bytes:?} is a tensor"),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn a_tensor_lies_as_the_wire_format_says() {
    let (words, len) = message(&image());
    assert_eq!(len, 24 + 6 * 4);
    assert_eq!(words[..3], [2, 2, 3]);
    assert_eq!(words.as_bytes()[24..], *image().as_slice().as_bytes());
}

#[test]
fn a_reader_gets_the_values_in_place() {
    let (words, len) = message(&image());
    let bytes = &words.as_bytes()[..len];
    let view = Tensor::<f32, 2>::read_message(bytes, &mut Scratch::none(), "").unwrap();
    assert_eq!(view.as_slice().as_ptr().addr(), bytes.as_ptr().addr() + 24);
    assert_eq!(view.into_owned(), image());
    assert_eq!(view.shape(), [2, 3]);
    assert_eq!(view[[1, 0]].to_bits(), 3.0_f32.to_bits());
}

#[test]
fn a_reader_copies_the_values_from_an_odd_address() {
    let (words, len) = message(&image());
    let shifted = [&[0], &words.as_bytes()[..len]].concat();
    assert_eq!(Tensor::from_bytes(&shifted[1..]), Ok(image()));
    let none = Tensor::<f32, 2>::read_message(&shifted[1..], &mut Scratch::none(), "it").unwrap_err().to_string();
    // An allocation may begin anywhere.
    if !(shifted.as_ptr().addr() + 1).is_multiple_of(4) {
        assert!(none.contains("not aligned"), "{none}");
    }
}

#[test]
fn a_reader_refuses_every_other_shape() {
    let tensor = |words: &[u64], values: usize| [words.as_bytes(), &vec![0; values]].concat();
    for (bytes, refused) in [
        (tensor(&[3, 2, 1, 1], 8), "the number of dimensions of argument `image` of f is 2, and 3 came"),
        (tensor(&[1, 2, 1], 8), "the number of dimensions of argument `image` of f is 2, and 1 came"),
        (tensor(&[2 | 1 << 32, 2, 1], 8), "is 2, and 4294967298 came"),
        (tensor(&[2, 2], 0), "argument `image` of f has 16 bytes, and its shape of 2 dimensions has more"),
        (tensor(&[], 0), "has 0 bytes"),
        (tensor(&[2, 2, 1], 4), "gives its shape as [2, 1] of f32, and 4 bytes of values came"),
        (tensor(&[2, 2, 1], 12), "and 12 bytes of values came"),
        (tensor(&[2, 0, 1], 4), "gives its shape as [0, 1]"),
        (tensor(&[2, 1 << 62, 1 << 62], 0), "gives its shape as [4611686018427387904, 4611686018427387904]"),
        (tensor(&[2, 0, 1 << 62], 0), "gives its shape as [0, 4611686018427387904]"),
        (tensor(&[2, u64::MAX, 1], 0), "gives its shape as [18446744073709551615, 1]"),
    ] {
        let found = refusal::<f32, 2>(&bytes);
        assert!(found.contains(refused), "{found:?} is not {refused:?}");
    }
    assert_eq!(Tensor::<f32, 2>::from_bytes(&tensor(&[2, 0, 7], 0)).unwrap().shape(), [0, 7]);
}

#[test]
fn the_number_of_values_is_that_of_the_shape() {
    let count = Tensor::new([2, 2], vec![1_u8; 5]).unwrap_err();
    assert_eq!(count.to_string(), "the shape [2, 2] has 4 values, and 5 were given");
    let huge = TensorRef::<u16, 2>::new([0, usize::MAX], &[]).unwrap_err();
    assert!(matches!(huge, ShapeError::TooLarge { .. }), "{huge}");
    assert!(matches!(Tensor::<u8, 2>::new([usize::MAX; 2], vec![]), Err(ShapeError::TooLarge { .. })));
    assert!(Tensor::<u8, 3>::new([7, 0, 9], vec![]).unwrap().as_slice().is_empty());
}

#[test]
fn an_index_finds_one_value() {
    let mut cube = Tensor::new([2, 3, 4], (0..24).collect::<Vec<u64>>()).unwrap();
    let found: Vec<u64> = (0..2)
        .flat_map(|x| (0..3).flat_map(move |y| (0..4).map(move |z| [x, y, z])))
        .map(|index| cube[index])
        .collect();
    assert_eq!(found, cube.as_slice());
    cube[[1, 2, 3]] = 99;
    assert_eq!(cube.into_vec().last(), Some(&99));
}

#[test]
#[should_panic(expected = "the index [0, 3] is not in the shape [2, 3]")]
fn an_index_beyond_its_dimension_panics() {
    _ = image()[[0, 3]];
}

proptest! {
    #[test]
    fn tensors_there_and_back(shape in prop::array::uniform4(0_usize..4), seed: u32) {
        let count = shape.iter().product::<usize>();
        let values = (0..u32::MAX).take(count).map(|at| seed.wrapping_add(at)).collect();
        let tensor = Tensor::new(shape, values).unwrap();
        let (words, len) = message(&tensor);
        prop_assert_eq!(Tensor::from_bytes(&words.as_bytes()[..len]), Ok(tensor.clone()));
        // Nothing shorter or longer is a tensor.
        for cut in 0..len {
            prop_assert!(Tensor::<u32, 4>::from_bytes(&words.as_bytes()[..cut]).is_err());
        }
        let longer = [&words.as_bytes()[..len], &[0]].concat();
        prop_assert!(Tensor::<u32, 4>::from_bytes(&longer).is_err());
    }
}

#[cfg(feature = "ndarray")]
mod arrays {
    use ndarray::{Array3, ShapeBuilder, array, s};

    use super::*;

    #[test]
    fn an_array_in_c_order_is_moved() {
        let values = vec![1.0_f64, 2.0, 3.0, 4.0];
        let start = values.as_ptr();
        let array = ndarray::Array2::from_shape_vec((2, 2), values).unwrap();
        let tensor = Tensor::from(array);
        assert_eq!(tensor.as_slice().as_ptr(), start);
        assert_eq!(tensor.array().as_ptr(), start);
        let array = ndarray::Array2::from(tensor);
        assert_eq!(array.as_ptr(), start);
        assert_eq!(array, array![[1.0, 2.0], [3.0, 4.0]]);
    }

    #[test]
    fn an_array_in_another_order_is_copied_in_c_order() {
        let array = array![[1, 2, 3], [4, 5, 6]];
        let expected = Tensor::new([3, 2], vec![1, 4, 2, 5, 3, 6]).unwrap();
        assert_eq!(Tensor::from(array.t()), expected);
        assert_eq!(Tensor::from(array.clone().reversed_axes()), expected);
        assert_eq!(Tensor::from(Array3::<u8>::zeros((2, 3, 4).f())).shape(), [2, 3, 4]);
        assert_eq!(TensorRef::try_from(array.t()), Err(ShapeError::Order));
    }

    #[test]
    fn a_part_of_an_array_is_that_part() {
        let array = array![[1, 2], [3, 4], [5, 6]];
        let expected = Tensor::new([2, 2], vec![3, 4, 5, 6]).unwrap();
        assert_eq!(Tensor::from(array.slice(s![1.., ..])), expected);
        assert_eq!(TensorRef::try_from(array.slice(s![1.., ..])), Ok(expected.view()));
        assert_eq!(Tensor::from(array.clone().slice_move(s![1.., ..])), expected);
        assert_eq!(Tensor::from(array.clone().slice_move(s![..2, ..])).into_vec(), [1, 2, 3, 4]);
        assert_eq!(Tensor::from(array.slice_move(s![..;-1, ..])).into_vec(), [5, 6, 3, 4, 1, 2]);
    }

    #[test]
    fn values_change_through_an_array() {
        let mut tensor = image();
        tensor.array_mut().mapv_inplace(|value| value * 2.0);
        assert_eq!(tensor.as_slice(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn an_empty_array_is_a_tensor() {
        let array = Array3::<f32>::zeros((2, 0, 3));
        assert_eq!(TensorRef::try_from(array.view()).unwrap().shape(), [2, 0, 3]);
        assert_eq!(Tensor::from(array).array().shape(), [2, 0, 3]);
    }
}
