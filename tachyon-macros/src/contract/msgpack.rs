//! The code of endpoints with `codec = "msgpack"`: a request is a map from the names of the arguments to their values,
//! a reply is the value. Any type of serde travels.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt;

use super::{Contract, local_name};
use crate::endpoint::model::ReplyForm;
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
        if let ReplyForm::Value(written) = self.reply {
            let (value, error) = result_types(written).map_or((*written, None), |(value, error)| (value, Some(error)));
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
    fn select_packed(&self, ty: &impl ToTokens) -> TokenStream {
        let private = self.private;
        quote!(#private::Select<{ use #private::NotPacked as _; #private::IsPacked::<#ty>::YES }>)
    }

    /// The type of the returned value.
    pub(super) fn packed_value(&self) -> TokenStream {
        let ReplyForm::Value(written) = self.reply else { return quote!(()) };
        let value = result_types(written).map_or(*written, |(value, _)| value);
        self.constant(value).to_token_stream()
    }

    /// The error type of a returned `Result`.
    pub(super) fn packed_error(&self) -> Option<TokenStream> {
        let ReplyForm::Value(written) = self.reply else { return None };
        let (_, error) = result_types(written)?;
        Some(self.constant(error).to_token_stream())
    }

    /// The type of the reply on the wire.
    pub(super) fn packed_reply(&self) -> TokenStream {
        let (private, value) = (self.private, self.packed_value());
        let select = self.select_packed(&value);
        quote!(<#select as #private::Packed<#value>>::Message)
    }

    /// The conversion from the received message to the value.
    pub(super) fn packed_spell(&self) -> TokenStream {
        let (private, value) = (self.private, self.packed_value());
        let select = self.select_packed(&value);
        quote!(.map(<#select as #private::Packed<#value>>::unwrap))
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

    /// The expression that calls the function and makes the reply.
    pub(super) fn packed_answer(&self, call: &TokenStream) -> TokenStream {
        let (private, types, outcome) = (self.private, self.answer_types(), self.outcome(call));
        quote_spanned!(Span::mixed_site()=> #private::answer_packed::<#types>(__reply, #outcome))
    }

    /// The output of the future of an `async` function, whose value is `__value`.
    pub(super) fn packed_output(&self) -> TokenStream {
        let (private, types) = (self.private, self.answer_types());
        let outcome = self.outcome(&quote_spanned!(Span::mixed_site()=> __value));
        quote_spanned!(Span::mixed_site()=> #private::answer_packed_later::<#types>(#outcome))
    }

    fn answer_types(&self) -> TokenStream {
        let (private, value, how) = (self.private, self.packed_value(), self.error_mode());
        let select = self.select_packed(&value);
        let error = self.packed_error().unwrap_or_else(|| quote!(#private::Undeclared));
        quote!(#how, #select, #value, #error)
    }

    /// The returned value as a `Result`.
    fn outcome(&self, returned: &TokenStream) -> TokenStream {
        let private = self.private;
        if self.packed_error().is_some() { returned.clone() } else { quote!(#private::Result::Ok(#returned)) }
    }
}

/// The name of an argument on the wire.
fn wire_name(argument: &Argument<'_>) -> String {
    argument.name.as_ref().map(|name| name.unraw().to_string()).unwrap_or_default()
}
