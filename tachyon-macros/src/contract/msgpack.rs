//! The code of endpoints with `codec = "msgpack"`: a request is a map from the names of the arguments to their values,
//! a reply, or an item, is the value. Any type of serde travels.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt;

use super::{Contract, local_name};
use crate::endpoint::params::Argument;
use crate::span::SpanRange;
use crate::types::constant::make_constant;
use crate::types::field_type::{FieldType, known_layout};
use crate::types::reply_type::result_types;

impl Contract<'_> {
    /// The assertions about the types.
    pub(super) fn packed_items(&self, shared: &TokenStream) -> TokenStream {
        let private = self.private;
        let mut items = quote_spanned!(Span::mixed_site()=> #shared const _: () = #private::assert_msgpack(););
        let mut assert = |written: &Type, call: TokenStream| {
            let call = SpanRange::of(written).located(call);
            items.extend(quote_spanned!(Span::mixed_site()=> #shared const _: () = #call;));
        };
        for argument in self.params.arguments().filter(|argument| known_layout(argument.ty).is_none()) {
            let ty = self.constant(argument.ty);
            assert(argument.ty, quote!(#private::can_be_packed::<#ty>()));
        }
        if let Some(of) = self.params.items().filter(|of| known_layout(of).is_none()) {
            let ty = self.constant(of);
            assert(of, quote!(#private::can_be_packed::<#ty>()));
        }
        if let Some(written) = self.reply.returned() {
            let (value, error) = result_types(written).map_or((written, None), |(value, error)| (value, Some(error)));
            let ty = self.constant(value);
            assert(value, quote!(#private::can_be_packed::<#ty>()));
            if let Some(error) = error {
                let ty = self.constant(error);
                let form = self.error_form(&ty.to_token_stream());
                assert(error, quote!(#private::error_travels::<#ty, #form>()));
            }
        }
        items
    }

    fn constant(&self, ty: &Type) -> Type {
        let mut ty = ty.clone();
        make_constant(&mut ty, self.private);
        ty
    }

    /// `Select` for a type.
    pub(super) fn select_packed(&self, ty: &impl ToTokens) -> TokenStream {
        let private = self.private;
        quote!(#private::Select<{ use #private::NotPacked as _; #private::IsPacked::<#ty>::YES }>)
    }

    /// The type of the returned value, or of an item, and the error type of a returned `Result`.
    pub(super) fn packed_value(&self) -> (TokenStream, Option<TokenStream>) {
        let Some(written) = self.reply.returned() else { return (quote!(()), None) };
        let (value, error) = result_types(written).map_or((written, None), |(value, error)| (value, Some(error)));
        (self.constant(value).to_token_stream(), error.map(|error| self.constant(error).to_token_stream()))
    }

    /// The type of the reply, or of an item, on the wire.
    pub(super) fn packed_reply(&self) -> TokenStream {
        let (private, (value, _)) = (self.private, self.packed_value());
        let select = self.select_packed(&value);
        quote!(<#select as #private::Packed<#value>>::Message)
    }

    /// The type of a client's parameter: a number by value, any other type by reference.
    pub(super) fn packed_param(argument: &Argument<'_>, private: &syn::Path) -> TokenStream {
        let ty = argument.ty;
        match FieldType::of(ty) {
            FieldType::Text => quote!(&#private::str),
            _ if known_layout(ty).is_some() => quote!(#ty),
            _ => quote!(&#ty),
        }
    }

    /// The statements that encode the parameters, and the request as an expression.
    pub(super) fn packed_request(&self, names: &[TokenStream]) -> (TokenStream, TokenStream) {
        let private = self.private;
        let puts = self.params.arguments().zip(names).map(|(argument, name)| {
            let text = wire_name(argument);
            if matches!(FieldType::of(argument.ty), FieldType::Text) {
                return quote_spanned!(Span::mixed_site()=> __packed.put(#text, #name););
            }
            let ty = self.constant(argument.ty);
            let select = self.select_packed(&ty);
            let value = if known_layout(argument.ty).is_some() { quote!(&#name) } else { quote!(#name) };
            quote_spanned! {Span::mixed_site()=>
                <#select as #private::Packed<#ty>>::put(&mut __packed, #text, #value);
            }
        });
        let (endpoint, error) = (&self.name, self.error_type());
        #[allow(clippy::cast_possible_truncation, reason = "an endpoint has at most 32 arguments")]
        let count = names.len() as u8;
        let statements = quote_spanned! {Span::mixed_site()=>
            #[allow(unused_mut, reason = "an endpoint without arguments")]
            let mut __packed = #private::PackedRequest::new(#count);
            #(#puts)*
            let __encoded = #private::finish_packed::<#error>(#endpoint, __packed)?;
        };
        (statements, quote_spanned!(Span::mixed_site()=> __encoded))
    }

    /// The body of a handler: `answer` is an expression over the local names of the arguments.
    pub(super) fn packed_handler(&self, answer: &TokenStream) -> TokenStream {
        let (private, whole) = (self.private, &self.name);
        let takes = self.params.arguments().enumerate().map(|(at, argument)| {
            let (name, text) = (local_name(at), wire_name(argument));
            let place = format!("argument `{text}` of {whole}");
            let ty = self.constant(argument.ty);
            let select = self.select_packed(&ty);
            quote_spanned! {Span::mixed_site()=>
                let #name = <#select as #private::Packed<#ty>>::take(&__arguments, #text, #place)?;
            }
        });
        let place = format!("the arguments of {whole}");
        quote_spanned! {Span::mixed_site()=>
            #private::handle(__request, true, |__message, __scratch| {
                let __arguments = #private::PackedArguments::open(__message, __scratch, #place)?;
                #(#takes)*
                #answer
            })
        }
    }
}

/// The name of an argument on the wire.
fn wire_name(argument: &Argument<'_>) -> String {
    argument.name.as_ref().map(|name| name.unraw().to_string()).unwrap_or_default()
}
