//! The contract of an endpoint as code: the types of the request and the reply, and the assertions about them.
//! `handler` writes the code that reads a request, and `client` the code that sends one.
//!
//! The syntax of a type may not tell whether the type travels. Generated code asserts such a type once, at the user's
//! tokens, and names it elsewhere through `Select`, which replaces a type that does not travel: each mistake is one
//! error.

pub(crate) mod client;
pub(crate) mod handler;
mod msgpack;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Path, Type};

use crate::endpoint::model::ReplyForm;
use crate::endpoint::params::{Argument, ArgumentKind, Params};
use crate::span::SpanRange;
use crate::types::constant::make_constant;
use crate::types::field_type::known_layout;
use crate::types::reply_type::{is_known_reply, result_types};
use crate::types::tensor::TensorType;
use crate::types::{last_segment, type_arguments, ungroup};

/// The contract of a function, or of a service's method.
pub(crate) struct Contract<'a> {
    pub(crate) private: &'a Path,
    /// The type with the associated items: the endpoint, or the number of a method.
    pub(crate) marker: TokenStream,
    /// The name of the endpoint, as in its description.
    pub(crate) name: String,
    pub(crate) params: &'a Params<'a>,
    pub(crate) reply: &'a ReplyForm<'a>,
    /// Whether the codec is msgpack.
    pub(crate) is_packed: bool,
}

impl Contract<'_> {
    /// The offsets of the fields, the type on the wire of each argument, and the assertions.
    ///
    /// ```text
    /// impl filter { const __AT: [usize; 3] = offsets([<W0 as Value>::HEAD, <W1 as Value>::HEAD]); }
    /// impl Travels<0> for filter { type Wire = ..; }
    /// const _: () = can_be_parameter::<ScanRef<'static>>();
    /// ```
    pub(crate) fn items(&self, shared: &TokenStream) -> TokenStream {
        if self.is_packed {
            return self.packed_items(shared);
        }
        let (private, marker) = (self.private, &self.marker);
        let mut items = TokenStream::new();
        for (at, argument) in self.params.arguments().enumerate() {
            if let Some((assertion, wire)) = self.assert_unknown(argument, shared) {
                items.extend(quote_spanned! {Span::mixed_site()=>
                    #assertion
                    #shared
                    #[automatically_derived]
                    impl #private::Travels<#at> for #marker {
                        type Wire = #wire;
                    }
                });
            }
        }
        for argument in self.params.arguments() {
            if let (ArgumentKind::Plain, Type::Array(array)) = (&argument.kind, ungroup(argument.ty)) {
                let assertion = SpanRange::of(array).located(quote!(#private::assert_by_value::<#array>()));
                items.extend(quote_spanned!(Span::mixed_site()=> #shared const _: () = #assertion;));
            }
        }
        if self.params.are_fields() {
            let heads = self.wires().map(|wire| quote!(<#wire as #private::Value>::HEAD));
            let count = self.params.arguments().count() + 1;
            let types: TokenStream = self.params.arguments().map(|argument| argument.ty.to_token_stream()).collect();
            let offsets = SpanRange::of(types).located(quote!(#private::offsets([#(#heads),*])));
            items.extend(quote_spanned! {Span::mixed_site()=>
                #shared
                #[automatically_derived]
                impl #marker {
                    #[doc(hidden)]
                    const __AT: [#private::usize; #count] = #offsets;
                }
            });
        }
        items.extend(self.reply_assertions(shared));
        items
    }

    /// The assertions about an argument whose type is unknown, as items, and its type on the wire.
    fn assert_unknown(&self, argument: &Argument<'_>, shared: &TokenStream) -> Option<(TokenStream, TokenStream)> {
        let private = self.private;
        let ty = argument.ty;
        let item = |assertion: TokenStream| quote_spanned!(Span::mixed_site()=> #shared const _: () = #assertion;);
        match argument.kind {
            ArgumentKind::Text | ArgumentKind::Plain | ArgumentKind::PlainOption(_) => None,
            ArgumentKind::Slice(element) if known_layout(element).is_some() => None,
            ArgumentKind::Reference(inner) if known_layout(inner).is_some() => None,
            ArgumentKind::Reference(inner) => {
                let select = self.select_value(inner);
                let assertion = SpanRange::of(inner).located(quote!(#private::can_be_lent::<#inner>()));
                Some((item(assertion), quote!(<#select as #private::Slot<#inner>>::Wire)))
            }
            ArgumentKind::Slice(element) => {
                let (select, constant) = self.select_argument(ty);
                let assertion = SpanRange::of(element).located(quote!(#private::can_be_element::<#element>()));
                Some((item(assertion), quote!(<#select as #private::Parameter<#constant>>::Wire)))
            }
            ArgumentKind::Option | ArgumentKind::Other => {
                let (select, constant) = self.select_argument(ty);
                let (inner, in_list) = innermost(ty);
                let wire = quote!(<#select as #private::Parameter<#constant>>::Wire);
                if let Some(tensor) = TensorType::of(inner) {
                    return Some((tensor.assertions(shared, private), wire));
                }
                let mut inner = inner.clone();
                make_constant(&mut inner, private);
                let assert = if in_list { quote!(travels) } else { quote!(can_be_parameter) };
                let assertion = SpanRange::of(&inner).located(quote!(#private::#assert::<#inner>()));
                Some((item(assertion), wire))
            }
        }
    }

    /// `Select` for a value.
    pub(crate) fn select_value(&self, ty: &Type) -> TokenStream {
        let private = self.private;
        if known_layout(ty).is_some() {
            return quote!(#private::Select<true>);
        }
        quote!(#private::Select<{ use #private::NotValue as _; #private::IsValue::<#ty>::YES }>)
    }

    /// `Select` for a parameter, and the parameter's type as it can be written in a constant.
    fn select_argument(&self, ty: &Type) -> (TokenStream, Type) {
        let private = self.private;
        let mut constant = ty.clone();
        make_constant(&mut constant, private);
        let select =
            quote!(#private::Select<{ use #private::NotArgument as _; #private::IsArgument::<#constant>::YES }>);
        (select, constant)
    }

    /// The type on the wire of each argument.
    fn wires(&self) -> impl Iterator<Item = TokenStream> {
        self.params.arguments().enumerate().map(|(at, argument)| self.wire(at, argument))
    }

    fn wire(&self, at: usize, argument: &Argument<'_>) -> TokenStream {
        let (private, marker, ty) = (self.private, &self.marker, argument.ty);
        match argument.kind {
            ArgumentKind::Text => quote!(#private::String),
            ArgumentKind::Plain => quote!(#ty),
            ArgumentKind::Slice(element) if known_layout(element).is_some() => quote!(#private::Vec<#element>),
            ArgumentKind::Reference(inner) if known_layout(inner).is_some() => quote!(#inner),
            ArgumentKind::PlainOption(inner) => {
                let wire = match ungroup(inner) {
                    Type::Reference(reference) => {
                        if let Type::Slice(slice) = ungroup(&reference.elem) {
                            let element = &slice.elem;
                            quote!(#private::Vec<#element>)
                        } else {
                            quote!(#private::String)
                        }
                    }
                    plain => quote!(#plain),
                };
                quote!(#private::Option<#wire>)
            }
            _ => quote!(<#marker as #private::Travels<#at>>::Wire),
        }
    }

    /// The form of the request.
    pub(crate) fn request_form(&self) -> TokenStream {
        let (private, marker) = (self.private, &self.marker);
        if self.is_packed {
            return quote!(#private::Form::Msgpack);
        }
        if !self.params.are_fields() {
            return if let Some(wire) = self.wires().next() {
                quote!(<#wire as #private::Value>::FORM)
            } else {
                quote!(#private::Form::Empty)
            };
        }
        let fields = self.params.arguments().enumerate().map(|(at, argument)| {
            let wire = self.wire(at, argument);
            let name = argument.name.as_ref().map(|name| name.unraw().to_string()).unwrap_or_default();
            quote! {
                #private::HeadField {
                    name: #name,
                    value_type: <#wire as #private::Value>::TYPE,
                    offset: <#marker>::__AT[#at],
                }
            }
        });
        let count = self.params.arguments().count();
        quote! {
            #private::Form::Fields(&#private::HeadLayout {
                name: "",
                doc: "",
                len: <#marker>::__AT[#count],
                fields: &[#(#fields),*],
            })
        }
    }

    /// The `Signature`: number, name, documentation, forms and errors.
    pub(crate) fn signature(&self, msg_type: &TokenStream, doc: &TokenStream) -> TokenStream {
        let (private, name) = (self.private, &self.name);
        let request = self.request_form();
        let (reply, error) = (self.reply_type(), self.error_type());
        let items = self.params.items().map(|of| {
            let form = if self.is_packed {
                quote!(#private::Form::Msgpack)
            } else {
                let wire = self.item_wire(of);
                quote!(<#wire as #private::Value>::FORM)
            };
            quote!(.with_items(#form))
        });
        let streaming = self.reply.stream().map(|_| quote!(.streaming()));
        // A connection remembers a compared signature by its address, and a static has one address.
        quote! {
            {
                static __SIGNATURE: #private::Signature = #private::Signature::of(
                    #msg_type,
                    #name,
                    #doc,
                    #request,
                    <#reply as #private::Message>::FORM,
                    <#error as #private::DeclaredError>::VARIANTS,
                )#items #streaming;
                &__SIGNATURE
            }
        }
    }

    /// The return type as valid in a constant; `None` without a returned value.
    fn returned_type(&self) -> Option<Type> {
        let mut ty = self.reply.returned()?.clone();
        make_constant(&mut ty, self.private);
        Some(ty)
    }

    /// The type on the wire of the caller's items `ty`, without a codec.
    fn item_wire(&self, ty: &Type) -> TokenStream {
        let private = self.private;
        if known_layout(ty).is_some() {
            return ty.to_token_stream();
        }
        let select = self.select_value(ty);
        quote!(<#select as #private::Slot<#ty>>::Wire)
    }

    /// The traits that say which streams the endpoint has.
    pub(crate) fn stream_impls(&self, shared: &TokenStream) -> TokenStream {
        let (private, marker) = (self.private, &self.marker);
        let takes_items = self.params.items().map(|of| {
            let (item, codec) = if self.is_packed {
                let select = self.select_packed(of);
                (of.to_token_stream(), quote!(<#select as #private::Packed<#of>>::Items))
            } else {
                (self.item_wire(of), quote!(#private::TypedItems))
            };
            quote_spanned! {Span::mixed_site()=>
                #shared
                #[automatically_derived]
                impl #private::TakesItems for #marker {
                    type Item = #item;
                    type Codec = #codec;
                }
            }
        });
        let replies = match (self.reply.stream(), &takes_items) {
            (Some(_), _) => Some(quote!(StreamsReplies)),
            (None, Some(_)) => Some(quote!(RepliesOnce)),
            (None, None) => None,
        };
        let replies = replies.map(|name| {
            quote_spanned! {Span::mixed_site()=>
                #shared
                #[automatically_derived]
                impl #private::#name for #marker {}
            }
        });
        quote!(#takes_items #replies)
    }

    /// Whether a call opens a stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.reply.stream().is_some() || self.params.items().is_some()
    }

    /// `Select` for the return type.
    fn select_reply(&self) -> TokenStream {
        let private = self.private;
        if self.is_packed {
            let (value, error) = self.packed_value();
            let (select, form) = (self.select_packed(&value), if error.is_some() { "Result" } else { "Reply" });
            let form = format_ident!("Packed{form}");
            return quote!(#private::#form<#select>);
        }
        match self.returned_type() {
            Some(ty) if !is_known_reply(&ty) => {
                quote!(#private::Select<{ use #private::NotReply as _; #private::IsReply::<#ty>::YES }>)
            }
            _ => quote!(#private::Select<true>),
        }
    }

    /// The type of the reply on the wire.
    pub(crate) fn reply_type(&self) -> TokenStream {
        let private = self.private;
        if self.is_packed {
            return self.packed_reply();
        }
        if let ReplyForm::Slot { wire, .. } = self.reply {
            let Some(wire) = wire else { return quote!(#private::Vec<#private::u8>) };
            let select = quote!(#private::Select<{ use #private::NotInSlot as _; #private::IsInSlot::<#wire>::YES }>);
            return quote!(<#select as #private::InSlot<#wire>>::Message);
        }
        if let Some(ty) = self.returned_type() {
            let select = self.select_reply();
            quote!(<#select as #private::ReplyOf<#ty>>::Message)
        } else {
            quote!(())
        }
    }

    /// The error type of a returned `Result`; `None` if the endpoint cannot return an error.
    fn result_error(&self) -> Option<TokenStream> {
        let private = self.private;
        if self.is_packed {
            return self.packed_value().1;
        }
        let ty = match self.reply {
            ReplyForm::Slot { returned, .. } => {
                let mut ty = (*returned)?.clone();
                make_constant(&mut ty, private);
                return Some(if let Some((_, error)) = result_types(&ty) {
                    error.to_token_stream()
                } else {
                    quote!(<#ty as #private::SlotResult>::Error)
                });
            }
            _ => self.returned_type()?,
        };
        if is_known_reply(&ty) {
            return None;
        }
        let select = self.select_reply();
        Some(quote!(<#select as #private::ReplyOf<#ty>>::Error))
    }

    /// How the error travels: declared, with a kind, as its text, or not at all.
    fn error_mode(&self) -> TokenStream {
        let private = self.private;
        let form = self.result_error().map_or_else(|| quote!(3), |error| self.error_form(&error));
        quote!(#private::ErrorForm<#form>)
    }

    fn error_form(&self, error: &TokenStream) -> TokenStream {
        let private = self.private;
        quote! {{
            use #private::{NotDeclared as _, NotInto as _, NotShown as _};
            #private::error_form(
                #private::IsDeclared::<#error>::YES,
                #private::IsInto::<#error>::YES,
                #private::IsShown::<#error>::YES,
            )
        }}
    }

    /// The declared error, or `Undeclared`.
    pub(crate) fn error_type(&self) -> TokenStream {
        let private = self.private;
        match self.result_error() {
            None => quote!(#private::Undeclared),
            Some(error) => {
                let how = self.error_mode();
                quote!(<#how as #private::ConvertError<#error>>::Error)
            }
        }
    }

    fn reply_assertions(&self, shared: &TokenStream) -> TokenStream {
        let private = self.private;
        let (mut assertions, mut tensors) = (TokenStream::new(), TokenStream::new());
        let mut assert = |span: SpanRange, call: TokenStream| {
            let call = span.located(call);
            assertions.extend(quote_spanned!(Span::mixed_site()=> #shared const _: () = #call;));
        };
        if let Some(of) = self.params.items().filter(|of| known_layout(of).is_none()) {
            match TensorType::of(innermost(of).0) {
                Some(tensor) => tensors.extend(tensor.assertions(shared, private)),
                None => assert(SpanRange::of(of), quote!(#private::travels::<#of>())),
            }
        }
        if let ReplyForm::Value(wire) | ReplyForm::Slot { wire: Some(wire), .. } = self.reply
            && let Type::Array(array) = ungroup(wire)
        {
            assert(SpanRange::of(wire), quote!(#private::assert_by_value::<#array>()));
        }
        if let (Some(written), Some(ty)) = (self.reply.returned(), self.returned_type())
            && !is_known_reply(&ty)
        {
            let value = result_types(written).map_or(written, |(value, _)| value);
            match TensorType::of(innermost(value).0) {
                Some(tensor) => tensors.extend(tensor.assertions(shared, private)),
                None if self.params.sender().is_some() => {
                    assert(SpanRange::of(value), quote!(#private::travels::<#value>()));
                }
                None => assert(SpanRange::of(value), quote!(#private::can_be_reply::<#ty>())),
            }
        }
        if let ReplyForm::Slot { wire: Some(wire), .. } = self.reply
            && !matches!(ungroup(wire), Type::Slice(slice) if known_layout(&slice.elem).is_some())
            && known_layout(wire).is_none()
        {
            match TensorType::of(innermost(wire).0) {
                Some(tensor) => tensors.extend(tensor.assertions(shared, private)),
                None => assert(SpanRange::of(wire), quote!(#private::can_be_in_slot::<#wire>())),
            }
        }
        let written = match self.reply {
            ReplyForm::Slot { returned, .. } => *returned,
            reply => reply.returned(),
        };
        if let (Some(written), Some(error)) = (written, self.result_error()) {
            let span = result_types(written).map_or_else(|| SpanRange::of(written), |(_, error)| SpanRange::of(error));
            let form = self.error_form(&error);
            assert(span, quote!(#private::error_travels::<#error, #form>()));
        }
        assertions.extend(tensors);
        assertions
    }
}

/// The name of an argument in generated code. Hygiene keeps it apart from the user's names.
fn local_name(at: usize) -> Ident {
    format_ident!("__argument_{}", at, span = Span::mixed_site())
}

/// The type inside of `Option` and `Vec` that the compiler must resolve, and whether it is an element of a `Vec`.
fn innermost(ty: &Type) -> (&Type, bool) {
    let inside = |segment| type_arguments(segment).next();
    match last_segment(ty) {
        Some(segment) if segment.ident == "Option" => inside(segment).map_or((ty, false), innermost),
        Some(segment) if segment.ident == "Vec" => inside(segment).map_or((ty, false), |of| (innermost(of).0, true)),
        _ => (ty, false),
    }
}
