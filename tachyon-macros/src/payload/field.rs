//! A field of a payload or of a declared error in generated code.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Field, Path, Type};

use crate::span::{SpanRange, generated};
use crate::types::field_type::FieldType;
use crate::types::{text, ungroup};

/// A field, with its tokens for generated code.
pub(crate) struct FieldCode<'a> {
    pub(crate) written: &'a Field,
    pub(crate) name: TokenStream,
    /// The name in descriptions and messages.
    pub(crate) text: String,
    pub(crate) ty: TokenStream,
    pub(crate) field_type: FieldType<'a>,
}

impl<'a> FieldCode<'a> {
    pub(crate) fn of(written: &'a Field) -> Option<Self> {
        let ident = written.ident.as_ref()?;
        Some(FieldCode {
            written,
            name: generated(ident),
            text: ident.unraw().to_string(),
            ty: generated(&written.ty),
            field_type: FieldType::of(&written.ty),
        })
    }

    /// The type on the wire: that of the field, or a replacement for one that cannot travel.
    ///
    /// ```text
    /// Vec<Point>   =>   <Select<{ IsValue::<Vec<Point>>::YES }> as Slot<Vec<Point>>>::Wire
    /// ```
    pub(crate) fn wire(&self, private: &Path) -> TokenStream {
        if self.field_type.is_known() {
            return self.ty.clone();
        }
        let slot = self.slot(private);
        quote_spanned!(Span::mixed_site()=> #slot::Wire)
    }

    /// The view of the field that `reference` borrows.
    pub(crate) fn view(&self, reference: &TokenStream, private: &Path) -> TokenStream {
        let ty = &self.ty;
        if self.field_type.is_known() {
            return quote_spanned!(Span::mixed_site()=> <#ty as #private::Value>::view(#reference));
        }
        let slot = self.slot(private);
        quote_spanned!(Span::mixed_site()=> #slot::view(#reference))
    }

    /// The value of the field from its view.
    pub(crate) fn own(&self, view: &TokenStream, private: &Path) -> TokenStream {
        let ty = &self.ty;
        if self.field_type.is_known() {
            return quote_spanned!(Span::mixed_site()=> <#ty as #private::Value>::own(#view));
        }
        let slot = self.slot(private);
        quote_spanned!(Span::mixed_site()=> #slot::own(#view))
    }

    /// `<Select<..> as Slot<T>>`.
    fn slot(&self, private: &Path) -> TokenStream {
        let ty = &self.ty;
        quote_spanned! {Span::mixed_site()=>
            <#private::Select<{ use #private::NotValue as _; #private::IsValue::<#ty>::YES }> as #private::Slot<#ty>>
        }
    }

    /// The assertion that the type travels, and has the size that `size` demands. It is the one place of this error.
    ///
    /// ```text
    /// points: Vec<Point>   =>   const _: fn() = travels::<<Select<{ .. }> as Asked<Point>>::Type>;
    /// points: [Point; 2]   =>   const _: fn() = travels::<..>;
    ///                           const _: () = assert_fixed_element(IsValue::<Point>::YES, .., "Point");
    /// ```
    pub(crate) fn assert_travels(&self, size: SizeRule, shared: &TokenStream, private: &Path) -> TokenStream {
        let (ty, size) = innermost(&self.written.ty, size);
        let own = crate::attrs::shared(&self.written.attrs);
        if let FieldType::Tensor(tensor) = FieldType::of(ty) {
            return tensor.assertions(&quote!(#shared #own), private);
        }
        let span = SpanRange::of(ty);
        let written = generated(ty);
        let asked = span.resolved(quote_spanned! {Span::mixed_site()=>
            <#private::Select<{ #private::IsDefined::<#written>::YES }> as #private::Asked<#written>>::Type
        });
        let travels = quote_spanned! {Span::mixed_site()=>
            #shared #own const _: fn() = #private::travels::<#asked>;
        };
        let assert = match size {
            SizeRule::Any => return travels,
            SizeRule::Fixed => quote!(assert_fixed),
            SizeRule::Element => quote!(assert_fixed_element),
        };
        let (text, ty) = (text(ty), written);
        let assert = span.located(quote_spanned! {Span::mixed_site()=>
            #private::#assert(#private::IsValue::<#ty>::YES, #private::IsFixed::<#ty>::YES, #text)
        });
        quote_spanned!(Span::mixed_site()=> #travels const _: () = #assert;)
    }
}

/// The rule for the size of a field's type.
#[derive(Clone, Copy)]
pub(crate) enum SizeRule {
    Any,
    /// A fixed size: the payload is fixed.
    Fixed,
    /// A fixed size: the type is that of an array's elements.
    Element,
}

/// The type inside of lists, options and arrays, for the location of an error.
fn innermost(ty: &Type, size: SizeRule) -> (&Type, SizeRule) {
    match (FieldType::of(ty), ungroup(ty)) {
        (FieldType::List(of) | FieldType::Option(of), _) => innermost(of, size),
        (FieldType::Unknown, Type::Array(array)) => innermost(&array.elem, SizeRule::Element),
        _ => (ty, size),
    }
}
