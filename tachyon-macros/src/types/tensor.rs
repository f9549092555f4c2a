//! Tensors, as far as the syntax tells.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{GenericArgument, Path, PathArguments, PathSegment, Type};

use super::advice::field_advice;
use super::field_type::{FieldType, primitive};
use super::{last_segment, text};
use crate::span::{SpanRange, generated};

/// `Tensor<T, N>`, or `TensorRef<'_, T, N>`.
#[derive(Clone, Copy)]
pub(crate) struct TensorType<'a> {
    pub(crate) segment: &'a PathSegment,
    /// The type of the values.
    pub(crate) of: &'a Type,
    /// The number of dimensions.
    pub(crate) ndim: Ndim<'a>,
}

/// The second argument of a `Tensor`.
#[derive(Clone, Copy)]
pub(crate) enum Ndim<'a> {
    /// A number or a block.
    Expr(&'a syn::Expr),
    /// A name, which is a constant.
    Name(&'a Type),
}

impl<'a> TensorType<'a> {
    /// The tensor as written; `None` for another type, which may have the same name.
    pub(crate) fn of(ty: &'a Type) -> Option<Self> {
        let segment = last_segment(ty)?;
        if segment.ident != "Tensor" && segment.ident != "TensorRef" {
            return None;
        }
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
        let mut arguments = arguments.args.iter().filter(|argument| !matches!(argument, GenericArgument::Lifetime(_)));
        let GenericArgument::Type(of) = arguments.next()? else { return None };
        let ndim = match arguments.next()? {
            GenericArgument::Const(expr) => Ndim::Expr(expr),
            GenericArgument::Type(name) => Ndim::Name(name),
            _ => return None,
        };
        if arguments.next().is_some() { None } else { Some(TensorType { segment, of, ndim }) }
    }

    /// The number of dimensions, if it is written as a number.
    pub(crate) fn literal_ndim(&self) -> Option<&'a syn::LitInt> {
        match self.ndim {
            Ndim::Expr(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(ndim), .. })) => Some(ndim),
            _ => None,
        }
    }

    /// The error text for a tensor that cannot be; `None` for a tensor that travels, and for one that only the compiler
    /// can check.
    pub(crate) fn advice(&self) -> Option<String> {
        let ndim = self.ndim.to_token_stream();
        if let Some(literal) = self.literal_ndim()
            && !literal.base10_parse::<usize>().is_ok_and(|ndim| (1..=8).contains(&ndim))
        {
            return Some(format!("a tensor has 1 to 8 dimensions, not {ndim}"));
        }
        let of = text(self.of);
        if of == "bool" {
            return Some(format!("the values of a tensor are numbers: write `Tensor<u8, {ndim}>`, of 0 and 1"));
        }
        match FieldType::of(self.of) {
            FieldType::Fixed if primitive(self.of).is_some() => None,
            FieldType::Unknown => {
                let advice = field_advice(self.of)?.1;
                Some(format!("the values of a tensor are numbers: {advice}"))
            }
            _ => Some(format!("the values of a tensor are numbers, such as `f32`, and `{of}` is none")),
        }
    }

    /// The assertions that the values are numbers, and that the number of dimensions is right.
    ///
    /// ```text
    /// Tensor<Pixel, DIMS>   =>   const _: fn() = can_be_in_tensor::<Pixel>;
    ///                            const _: () = assert_ndim::<DIMS>();
    /// ```
    pub(crate) fn assertions(&self, attributes: &TokenStream, private: &Path) -> TokenStream {
        let of = SpanRange::of(self.of).resolved(generated(self.of));
        let numbers = quote_spanned! {Span::mixed_site()=>
            #attributes const _: fn() = #private::can_be_in_tensor::<#of>;
        };
        if self.literal_ndim().is_some() {
            return numbers;
        }
        let ndim = generated(self.ndim);
        let assert = SpanRange::of(self.ndim).located(quote_spanned! {Span::mixed_site()=>
            #private::assert_ndim::<#ndim>()
        });
        quote_spanned!(Span::mixed_site()=> #numbers #attributes const _: () = #assert;)
    }
}

impl ToTokens for Ndim<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Ndim::Expr(expr) => expr.to_tokens(tokens),
            Ndim::Name(name) => name.to_tokens(tokens),
        }
    }
}
