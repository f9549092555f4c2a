//! Tensors as arrays of the crate `ndarray`, and arrays as tensors. `ndarray` has arrays of up to 6 such dimensions.

use ndarray::{Array, ArrayBase, ArrayView, ArrayViewMut, Data, Dim, Dimension, IntoDimension};

use super::{Number, ShapeError, Tensor, TensorRef};

const FITS: &str = "a tensor has a value for each index of its shape";

/// Of feature `ndarray`.
impl<T: Number, const N: usize> Tensor<T, N>
where
    [usize; N]: IntoDimension<Dim = Dim<[usize; N]>>,
    Dim<[usize; N]>: Dimension,
{
    /// The tensor as an array, without a copy. Needs the cargo feature `ndarray`.
    ///
    /// ```
    /// use tachyon::Tensor;
    ///
    /// let weights = Tensor::from(ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(weights.array().dot(&ndarray::array![1.0, 1.0]), ndarray::array![3.0, 7.0]);
    /// ```
    ///
    /// # Panics
    /// Never.
    pub fn array(&self) -> ArrayView<'_, T, Dim<[usize; N]>> {
        self.view().array()
    }

    /// The tensor as an array, to change its values. Needs the cargo feature `ndarray`.
    ///
    /// # Panics
    /// Never.
    pub fn array_mut(&mut self) -> ArrayViewMut<'_, T, Dim<[usize; N]>> {
        ArrayViewMut::from_shape(self.shape, &mut self.values).expect(FITS)
    }
}

impl<'a, T: Number, const N: usize> TensorRef<'a, T, N>
where
    [usize; N]: IntoDimension<Dim = Dim<[usize; N]>>,
    Dim<[usize; N]>: Dimension,
{
    /// The tensor as an array, without a copy. Needs the cargo feature `ndarray`.
    ///
    /// ```
    /// use tachyon::{Tensor, TensorRef, tachyon_rpc};
    ///
    /// /// The mean of each column.
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn means(samples: TensorRef<'_, f64, 2>) -> Option<Vec<f64>> {
    ///     Some(samples.array().mean_axis(ndarray::Axis(0))?.to_vec())
    /// }
    ///
    /// let samples = Tensor::from(ndarray::array![[1.0, 2.0], [3.0, 6.0]]);
    /// assert_eq!(means(samples.view()), Some(vec![2.0, 4.0]));
    /// ```
    ///
    /// # Panics
    /// Never.
    pub fn array(self) -> ArrayView<'a, T, Dim<[usize; N]>> {
        ArrayView::from_shape(self.shape, self.values).expect(FITS)
    }
}

/// Makes a tensor of an array. The values of an owned array in C order are moved; all others are copied in C order.
impl<T: Number, const N: usize> From<Array<T, Dim<[usize; N]>>> for Tensor<T, N>
where
    Dim<[usize; N]>: Dimension,
{
    fn from(array: Array<T, Dim<[usize; N]>>) -> Self {
        let shape = shape_of(&array);
        if !array.is_standard_layout() {
            return Self { shape, values: array.iter().copied().collect() };
        }
        let len = array.len();
        let (mut values, offset) = array.into_raw_vec_and_offset();
        // A slice of an array owns all values of the array.
        values.drain(..offset.unwrap_or(0));
        values.truncate(len);
        Self { shape, values }
    }
}

/// Copies the values in C order.
impl<T: Number, const N: usize> From<ArrayView<'_, T, Dim<[usize; N]>>> for Tensor<T, N>
where
    Dim<[usize; N]>: Dimension,
{
    fn from(array: ArrayView<'_, T, Dim<[usize; N]>>) -> Self {
        let shape = shape_of(&array);
        let values = array.as_slice().map_or_else(|| array.iter().copied().collect(), <[T]>::to_vec);
        Self { shape, values }
    }
}

/// Borrows the values of an array in C order.
///
/// ```
/// use tachyon::TensorRef;
///
/// let image = ndarray::array![[1, 2, 3], [4, 5, 6]];
/// assert_eq!(TensorRef::try_from(image.view())?[[1, 0]], 4);
/// assert!(TensorRef::try_from(image.t()).is_err());
/// # Ok::<(), tachyon::payload::ShapeError>(())
/// ```
impl<'a, T: Number, const N: usize> TryFrom<ArrayView<'a, T, Dim<[usize; N]>>> for TensorRef<'a, T, N>
where
    Dim<[usize; N]>: Dimension,
{
    type Error = ShapeError;

    fn try_from(array: ArrayView<'a, T, Dim<[usize; N]>>) -> Result<Self, ShapeError> {
        let shape = shape_of(&array);
        Ok(Self { shape, values: array.to_slice().ok_or(ShapeError::Order)? })
    }
}

/// Makes an array of a tensor, without a copy.
impl<T: Number, const N: usize> From<Tensor<T, N>> for Array<T, Dim<[usize; N]>>
where
    [usize; N]: IntoDimension<Dim = Dim<[usize; N]>>,
    Dim<[usize; N]>: Dimension,
{
    fn from(tensor: Tensor<T, N>) -> Self {
        Self::from_shape_vec(tensor.shape, tensor.values).expect(FITS)
    }
}

fn shape_of<S: Data, const N: usize>(array: &ArrayBase<S, Dim<[usize; N]>>) -> [usize; N]
where
    Dim<[usize; N]>: Dimension,
{
    let mut shape = [0; N];
    shape.copy_from_slice(array.shape());
    shape
}
