//! What travels to an endpoint and back, as code: the types, how a handler reads them, how a client sends them.
//!
//! Types whose spelling does not tell whether they travel are asserted once, at their place. Everything else speaks of
//! them through `Select`, which stands in for those that do not, so that each mistake is one error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Path, Type};

use crate::model::{ReplyForm, last_segment, peel, type_arguments};
use crate::params::{Argument, Kind, Param, Params};
use crate::payload::spelling::known_layout;
use crate::place::Place;
use crate::wire::write_down;

/// A contract: of a free function, or of a service's method.
pub(crate) struct Contract<'a> {
    pub(crate) private: &'a Path,
    /// The type that has the items of [`items`].
    pub(crate) marker: TokenStream,
    /// The endpoint's name, for errors.
    pub(crate) name: String,
    pub(crate) params: &'a Params<'a>,
    pub(crate) reply: &'a ReplyForm<'a>,
}

impl Contract<'_> {
    /// Where the fields lie, what travels for each argument, and the assertions.
    ///
    /// ```text
    /// impl filter { const __AT: [usize; 3] = offsets([<W0 as Value>::HEAD, <W1 as Value>::HEAD]); }
    /// impl Travels<0> for filter { type Wire = ..; }
    /// const _: () = can_be_parameter::<ScanRef<'static>>();
    /// ```
    pub(crate) fn items(&self, shared: &TokenStream) -> TokenStream {
        let (private, marker) = (self.private, &self.marker);
        let mut items = TokenStream::new();
        for (at, argument) in self.params.arguments().enumerate() {
            if let Some((assertion, wire)) = self.looked_up(argument) {
                items.extend(quote_spanned! {Span::mixed_site()=>
                    #shared
                    const _: () = #assertion;
                    #shared
                    #[automatically_derived]
                    impl #private::Travels<#at> for #marker {
                        type Wire = #wire;
                    }
                });
            }
        }
        for argument in self.params.arguments() {
            if let (Kind::Plain, Type::Array(array)) = (&argument.kind, peel(argument.ty)) {
                let assertion = Place::of(array).take(quote!(#private::assert_by_value::<#array>()));
                items.extend(quote_spanned!(Span::mixed_site()=> #shared const _: () = #assertion;));
            }
        }
        if self.params.are_fields() {
            let heads = self.wires().map(|wire| quote!(<#wire as #private::Value>::HEAD));
            let count = self.params.arguments().count() + 1;
            let types: TokenStream = self.params.arguments().map(|argument| argument.ty.to_token_stream()).collect();
            let offsets = Place::of(types).take(quote!(#private::offsets([#(#heads),*])));
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

    /// The assertion about an argument whose spelling does not tell whether it travels, and what travels for it.
    fn looked_up(&self, argument: &Argument<'_>) -> Option<(TokenStream, TokenStream)> {
        let private = self.private;
        let ty = argument.ty;
        match argument.kind {
            Kind::Text | Kind::Plain | Kind::PlainOption(_) => None,
            Kind::Slice(element) if known_layout(element).is_some() => None,
            Kind::Reference(inner) if known_layout(inner).is_some() => None,
            Kind::Reference(inner) => {
                let select = self.select_value(inner);
                let assertion = Place::of(inner).take(quote!(#private::can_be_lent::<#inner>()));
                Some((assertion, quote!(<#select as #private::Slot<#inner>>::Wire)))
            }
            Kind::Slice(element) => {
                let (select, constant) = self.select_argument(ty);
                let assertion = Place::of(element).take(quote!(#private::can_be_element::<#element>()));
                Some((assertion, quote!(<#select as #private::Parameter<#constant>>::Wire)))
            }
            Kind::Option | Kind::Other => {
                let (select, constant) = self.select_argument(ty);
                let (inner, in_list) = innermost(ty);
                let mut inner = inner.clone();
                write_down(&mut inner, private);
                let assert = if in_list { quote!(travels) } else { quote!(can_be_parameter) };
                let assertion = Place::of(&inner).take(quote!(#private::#assert::<#inner>()));
                Some((assertion, quote!(<#select as #private::Parameter<#constant>>::Wire)))
            }
        }
    }

    /// `Select` for a value.
    fn select_value(&self, ty: &Type) -> TokenStream {
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
        write_down(&mut constant, private);
        let select =
            quote!(#private::Select<{ use #private::NotArgument as _; #private::IsArgument::<#constant>::YES }>);
        (select, constant)
    }

    /// What travels for each argument.
    fn wires(&self) -> impl Iterator<Item = TokenStream> {
        self.params.arguments().enumerate().map(|(at, argument)| self.wire(at, argument))
    }

    fn wire(&self, at: usize, argument: &Argument<'_>) -> TokenStream {
        let (private, marker, ty) = (self.private, &self.marker, argument.ty);
        match argument.kind {
            Kind::Text => quote!(#private::String),
            Kind::Plain => quote!(#ty),
            Kind::Slice(element) if known_layout(element).is_some() => quote!(#private::Vec<#element>),
            Kind::Reference(inner) if known_layout(inner).is_some() => quote!(#inner),
            Kind::PlainOption(inner) => {
                let wire = match peel(inner) {
                    Type::Reference(reference) => {
                        if let Type::Slice(slice) = peel(&reference.elem) {
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

    /// `contract` of a signature: its forms and errors.
    pub(crate) fn signature(&self, msg_type: &TokenStream, doc: &TokenStream) -> TokenStream {
        let (private, name) = (self.private, &self.name);
        let request = self.request_form();
        let (reply, error) = (self.reply_type(), self.error_type());
        // A static has one address, by which a connection remembers what it has compared.
        quote! {
            {
                static __SIGNATURE: #private::Signature = #private::Signature::of(
                    #msg_type,
                    #name,
                    #doc,
                    #request,
                    <#reply as #private::Message>::FORM,
                    <#error as #private::DeclaredError>::VARIANTS,
                );
                &__SIGNATURE
            }
        }
    }

    // The reply.

    /// The returned type as it can be written in a constant, if there is one.
    fn returned(&self) -> Option<Type> {
        match self.reply {
            ReplyForm::Value(ty) | ReplyForm::Opaque(ty) => {
                let mut ty = (*ty).clone();
                write_down(&mut ty, self.private);
                Some(ty)
            }
            ReplyForm::Nothing | ReplyForm::Slot { .. } => None,
        }
    }

    /// `Select` for what is returned.
    fn select_reply(&self) -> TokenStream {
        let private = self.private;
        match self.returned() {
            Some(ty) if !is_known_reply(&ty) => {
                quote!(#private::Select<{ use #private::NotReply as _; #private::IsReply::<#ty>::YES }>)
            }
            _ => quote!(#private::Select<true>),
        }
    }

    /// What the caller gets.
    pub(crate) fn reply_type(&self) -> TokenStream {
        let private = self.private;
        if let ReplyForm::Slot { wire, .. } = self.reply {
            let Some(wire) = wire else { return quote!(#private::Vec<#private::u8>) };
            let select = quote!(#private::Select<{ use #private::NotInSlot as _; #private::IsInSlot::<#wire>::YES }>);
            return quote!(<#select as #private::InSlot<#wire>>::Message);
        }
        if let Some(ty) = self.returned() {
            let select = self.select_reply();
            quote!(<#select as #private::ReplyOf<#ty>>::Message)
        } else {
            quote!(())
        }
    }

    /// The error of a `Result`, if one may be returned.
    fn own_error(&self) -> Option<TokenStream> {
        let private = self.private;
        let ty = match self.reply {
            ReplyForm::Slot { returned, .. } => {
                let mut ty = (*returned)?.clone();
                write_down(&mut ty, private);
                return Some(if let Some((_, error)) = spelled_result(&ty) {
                    error.to_token_stream()
                } else {
                    quote!(<#ty as #private::SlotResult>::Error)
                });
            }
            _ => self.returned()?,
        };
        if is_known_reply(&ty) {
            return None;
        }
        let select = self.select_reply();
        Some(quote!(<#select as #private::ReplyOf<#ty>>::Error))
    }

    /// How the error travels.
    fn how(&self) -> TokenStream {
        let private = self.private;
        match self.own_error() {
            None => quote!(#private::ErrorForm<2>),
            Some(error) => quote! {
                #private::ErrorForm<{
                    use #private::NotDeclared as _;
                    use #private::NotShown as _;
                    #private::IsDeclared::<#error>::KIND + #private::IsShown::<#error>::KIND
                }>
            },
        }
    }

    /// The declared error.
    pub(crate) fn error_type(&self) -> TokenStream {
        let private = self.private;
        match self.own_error() {
            None => quote!(#private::Undeclared),
            Some(error) => {
                let how = self.how();
                quote!(<#how as #private::ConvertError<#error>>::Error)
            }
        }
    }

    fn reply_assertions(&self, shared: &TokenStream) -> TokenStream {
        let private = self.private;
        let mut assertions = TokenStream::new();
        let mut assert = |place: Place, call: TokenStream| {
            let call = place.take(call);
            assertions.extend(quote_spanned!(Span::mixed_site()=> #shared const _: () = #call;));
        };
        if let ReplyForm::Value(wire) | ReplyForm::Slot { wire: Some(wire), .. } = self.reply
            && let Type::Array(array) = peel(wire)
        {
            assert(Place::of(wire), quote!(#private::assert_by_value::<#array>()));
        }
        if let (ReplyForm::Value(written) | ReplyForm::Opaque(written), Some(ty)) = (self.reply, self.returned())
            && !is_known_reply(&ty)
        {
            let place = spelled_result(written).map_or_else(|| Place::of(written), |(value, _)| Place::of(value));
            assert(place, quote!(#private::can_be_reply::<#ty>()));
        }
        if let ReplyForm::Slot { wire: Some(wire), .. } = self.reply
            && !matches!(peel(wire), Type::Slice(slice) if known_layout(&slice.elem).is_some())
            && known_layout(wire).is_none()
        {
            assert(Place::of(wire), quote!(#private::can_be_in_slot::<#wire>()));
        }
        let written = match self.reply {
            ReplyForm::Value(ty) | ReplyForm::Opaque(ty) => Some(*ty),
            ReplyForm::Slot { returned, .. } => *returned,
            ReplyForm::Nothing => None,
        };
        if let (Some(written), Some(error)) = (written, self.own_error()) {
            let place = spelled_result(written).map_or_else(|| Place::of(written), |(_, error)| Place::of(error));
            assert(place, quote!(#private::error_travels::<#error>()));
        }
        assertions
    }

    /// What a client's function returns on success, as a reader of its documentation understands it; `None` where the
    /// spelling does not tell.
    fn spelled_reply(&self) -> Option<Type> {
        let ReplyForm::Value(written) = self.reply else { return None };
        let value = spelled_result(written).map_or(*written, |(value, _)| value);
        is_owned(value).then(|| value.clone())
    }

    // The handler.

    /// The body of a handler: from `request` to a reply. `function` is called with `state`.
    pub(crate) fn handler(&self, function: &TokenStream, receiver: Option<&TokenStream>) -> TokenStream {
        let (private, marker) = (self.private, &self.marker);
        let arguments: Vec<_> = self.params.arguments().collect();
        let names: Vec<_> = (0..arguments.len()).map(local).collect();
        let mut rest = names.iter().zip(&arguments);
        let context = &self.name;
        let passed = self.params.all.iter().map(|param| match param {
            Param::State(_) => quote_spanned!(Span::mixed_site()=> __state),
            Param::Context => {
                quote_spanned!(Span::mixed_site()=> &#private::context(__request, #context))
            }
            Param::Slot(_) => quote_spanned!(Span::mixed_site()=> __slot),
            Param::Argument(_) => match rest.next() {
                Some((name, Argument { kind: Kind::Reference(_), .. })) if self.params.are_fields() => quote!(&#name),
                Some((name, _)) => quote!(#name),
                None => quote!(),
            },
        });
        let receiver = receiver.map(|receiver| quote!(#receiver,));
        let call = quote!(#function(#receiver #(#passed),*));
        let answer = self.answer(&call);
        if self.params.are_fields() {
            let wires: Vec<_> = self.wires().collect();
            let count = arguments.len();
            let whole = &self.name;
            let reads = arguments.iter().zip(&wires).zip(&names).enumerate().map(|(at, ((argument, wire), name))| {
                let text = argument.name.as_ref().map(|name| name.unraw().to_string()).unwrap_or_default();
                let place = format!("argument `{text}` of {whole}");
                let taken = self.take(argument, wire, name);
                quote_spanned! {Span::mixed_site()=>
                    let #name = <#wire as #private::Value>::get(&mut __head, <#marker>::__AT[#at], __scratch, #place)?;
                    #taken
                }
            });
            return quote_spanned! {Span::mixed_site()=>
                #private::handle(__request, false #(|| <#wires as #private::Value>::COPIES)*, |__message, __scratch| {
                    let mut __head =
                        #private::Head::<[#private::u8; <#marker>::__AT[#count]]>::open(__message, #whole)?;
                    #(#reads)*
                    #answer
                })
            };
        }
        let (Some(argument), Some(name)) = (arguments.first(), names.first()) else {
            return quote_spanned! {Span::mixed_site()=>
                { #private::empty(__request)?; #answer }
            };
        };
        if let Kind::Reference(inner) = argument.kind {
            let select = self.select_value(inner);
            return quote_spanned! {Span::mixed_site()=>
                <#select as #private::Slot<#inner>>::lend(__request, |#name| #answer)
            };
        }
        let wire = self.wire(0, argument);
        let taken = self.take(argument, &wire, name);
        quote_spanned! {Span::mixed_site()=>
            #private::handle(__request, <#wire as #private::Value>::COPIES, |__message, __scratch| {
                let #name = <#wire as #private::Value>::read_message(__message, __scratch, "the request")?;
                #taken
                #answer
            })
        }
    }

    /// Makes the parameter of its view.
    fn take(&self, argument: &Argument<'_>, wire: &TokenStream, name: &Ident) -> TokenStream {
        let (private, ty) = (self.private, argument.ty);
        match argument.kind {
            Kind::Text | Kind::Plain | Kind::PlainOption(_) => quote!(),
            Kind::Slice(element) if known_layout(element).is_some() => quote!(),
            Kind::Reference(inner) if known_layout(inner).is_some() => quote!(),
            Kind::Reference(inner) => {
                let select = self.select_value(inner);
                quote!(let #name = <#select as #private::Slot<#inner>>::own(#name);)
            }
            Kind::Slice(_) | Kind::Option | Kind::Other => {
                let (select, _) = self.select_argument(ty);
                quote!(let #name = <#select as #private::Take<'_, #ty, #wire>>::take(#name);)
            }
        }
    }

    fn answer(&self, call: &TokenStream) -> TokenStream {
        let private = self.private;
        let how = self.how();
        if let ReplyForm::Slot { wire, .. } = self.reply {
            let wire = wire.map_or_else(|| quote!([#private::u8]), ToTokens::to_token_stream);
            quote_spanned! {Span::mixed_site()=>
                #private::answer_slot::<#wire, #how, _>(__reply, |__slot| #call)
            }
        } else {
            let select = self.select_reply();
            quote_spanned!(Span::mixed_site()=> #private::answer::<#how, #select, _>(__reply, #call))
        }
    }

    // The client.

    /// The function as its caller sees it, for documentation: the types of a client's parameters are hard to read.
    pub(crate) fn shown(&self) -> String {
        let arguments = self
            .params
            .arguments()
            .enumerate()
            .map(|(at, argument)| format!("{}: {}", Self::client_name(argument, at), shown_type(argument.ty)));
        let returned = match self.reply {
            ReplyForm::Value(ty) | ReplyForm::Opaque(ty) | ReplyForm::Slot { wire: Some(ty), .. } => {
                format!(" -> {}", shown_type(ty))
            }
            ReplyForm::Slot { wire: None, .. } => " -> [u8]".to_owned(),
            ReplyForm::Nothing => String::new(),
        };
        format!("fn {}({}){returned}", self.name, arguments.collect::<Vec<_>>().join(", "))
    }

    /// The parameters of a client's function.
    pub(crate) fn client_params(&self) -> TokenStream {
        let private = self.private;
        let params = self.params.arguments().enumerate().map(|(at, argument)| {
            let name = Self::client_name(argument, at);
            let ty = argument.ty;
            let wire = self.wire(at, argument);
            let ty = match argument.kind {
                Kind::Text | Kind::Plain | Kind::PlainOption(_) | Kind::Slice(_) => quote!(#ty),
                Kind::Reference(inner) if known_layout(inner).is_some() || !self.params.are_fields() => quote!(#ty),
                Kind::Option => quote!(<#wire as #private::Value>::View<'s>),
                Kind::Reference(_) | Kind::Other => quote!(impl #private::Pass<'s, #wire>),
            };
            quote!(#name: #ty,)
        });
        params.collect()
    }

    /// The lifetime of what a client passes, if [`client_params`](Self::client_params) names it.
    pub(crate) fn client_lifetime(&self) -> Option<TokenStream> {
        let passed = |argument: &Argument<'_>| match argument.kind {
            Kind::Option | Kind::Other => true,
            Kind::Reference(inner) => known_layout(inner).is_none() && self.params.are_fields(),
            _ => false,
        };
        self.params.arguments().any(passed).then(|| quote!('s,))
    }

    /// The name of the parameter for the caller: no argument's.
    pub(crate) fn caller_name(&self) -> Ident {
        let taken = |argument: &Argument<'_>| argument.name.as_ref().is_some_and(|name| name == "caller");
        let name = if self.params.arguments().any(taken) { "__caller" } else { "caller" };
        Ident::new(name, Span::mixed_site())
    }

    /// The names of a client's parameters, in order.
    fn client_name(argument: &Argument<'_>, at: usize) -> Ident {
        match &argument.name {
            Some(name) if !["self", "Self", "super", "crate", "_"].contains(&name.unraw().to_string().as_str()) => {
                name.clone()
            }
            _ if at == 0 => Ident::new("request", Span::mixed_site()),
            _ => local(at),
        }
    }

    /// Statements that make views of the parameters, and the request as an expression.
    pub(crate) fn request(&self) -> (TokenStream, TokenStream) {
        let (private, marker) = (self.private, &self.marker);
        let arguments: Vec<_> = self.params.arguments().collect();
        if !self.params.are_fields() {
            let Some(argument) = arguments.first() else {
                return (quote!(), quote!(#private::Whole::<()>::new(())));
            };
            let name = Self::client_name(argument, 0);
            if let Kind::Reference(inner) = argument.kind {
                let select = self.select_value(inner);
                return (quote!(), quote!(<#select as #private::Slot<#inner>>::body(#name)));
            }
            let wire = self.wire(0, argument);
            let view = self.view(argument, &wire, &name);
            return (quote!(), quote!(#private::Whole::<#wire>::new(#view)));
        }
        let wires: Vec<_> = self.wires().collect();
        let locals: Vec<_> = (0..arguments.len()).map(local).collect();
        let views = arguments.iter().enumerate().map(|(at, argument)| {
            let name = Self::client_name(argument, at);
            self.view(argument, &wires[at], &name)
        });
        let count = arguments.len();
        let at = 0..count;
        let statements = quote!(#(let #locals = #views;)*);
        let request = quote_spanned! {Span::mixed_site()=>
            #private::Fields::new(
                {
                    let __end = #private::align8(<#marker>::__AT[#count]);
                    #(let __end = <#wires as #private::Value>::grow(__end, #locals);)*
                    __end
                },
                |__out: &mut [#private::u8]| {
                    let mut __writer = #private::Writer::new(__out, <#marker>::__AT[#count]);
                    #(<#wires as #private::Value>::put(&mut __writer, <#marker>::__AT[#at], #locals);)*
                },
            )
        };
        (statements, request)
    }

    /// The view that a client sends of its parameter `name`.
    fn view(&self, argument: &Argument<'_>, wire: &TokenStream, name: &Ident) -> TokenStream {
        let private = self.private;
        match argument.kind {
            Kind::Text | Kind::Plain | Kind::PlainOption(_) | Kind::Option => quote!(#name),
            Kind::Slice(element) if known_layout(element).is_some() => quote!(#name),
            Kind::Slice(element) => {
                let (select, _) = self.select_argument(argument.ty);
                quote!(<#select as #private::PassSlice<'_, #element, #wire>>::pass(#name))
            }
            Kind::Reference(inner) if known_layout(inner).is_some() => quote!(*#name),
            Kind::Reference(_) | Kind::Other => quote!(#private::Pass::<'_, #wire>::pass(#name)),
        }
    }

    /// What a client's function returns, and what turns the received message into it.
    pub(crate) fn client_reply(&self, contract: &TokenStream) -> (TokenStream, TokenStream) {
        let private = self.private;
        let error = if self.own_error().is_none() {
            quote!(#private::CallError)
        } else {
            quote!(#private::CallError<<#contract as #private::Contract>::Error>)
        };
        match self.spelled_reply() {
            Some(ty) => {
                let select = self.select_reply();
                let message = quote!(<#contract as #private::Contract>::Reply);
                let spell = quote!(.map(<#select as #private::Spelled<#ty, #message>>::spell));
                (quote!(#private::Result<#ty, #error>), spell)
            }
            None => (quote!(#private::Result<<#contract as #private::Contract>::Reply, #error>), quote!()),
        }
    }
}

/// The name of an argument in generated code, which no name of the user's is.
fn local(at: usize) -> Ident {
    format_ident!("__argument_{}", at, span = Span::mixed_site())
}

/// The type inside of `Option` and `Vec` that the compiler has to look up, and whether it is an element of a `Vec`.
fn innermost(ty: &Type) -> (&Type, bool) {
    let inside = |segment| type_arguments(segment).next();
    match last_segment(ty) {
        Some(segment) if segment.ident == "Option" => inside(segment).map_or((ty, false), innermost),
        Some(segment) if segment.ident == "Vec" => inside(segment).map_or((ty, false), |of| (innermost(of).0, true)),
        _ => (ty, false),
    }
}

/// A type as people write it.
fn shown_type(ty: &Type) -> String {
    let mut text = ty.to_token_stream().to_string();
    for (tokens, written) in [
        (" :: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        ("& ", "&"),
        ("[ ", "["),
        (" ]", "]"),
        (" ,", ","),
        (" ;", ";"),
        ("( ", "("),
        (" )", ")"),
    ] {
        text = text.replace(tokens, written);
    }
    text
}

/// The two types of a `Result` that is spelled as one.
pub(crate) fn spelled_result(ty: &Type) -> Option<(&Type, &Type)> {
    let segment = last_segment(ty)?;
    let mut arguments = type_arguments(segment);
    match (segment.ident == "Result", arguments.next(), arguments.next()) {
        (true, Some(value), Some(error)) => Some((value, error)),
        _ => None,
    }
}

/// Whether a reply of this type is known to travel as itself, without an error.
pub(crate) fn is_known_reply(ty: &Type) -> bool {
    if known_layout(ty).is_some() {
        return true;
    }
    match peel(ty) {
        Type::Reference(reference) => match peel(&reference.elem) {
            Type::Slice(slice) => known_layout(&slice.elem).is_some(),
            Type::Path(path) => path.path.is_ident("str"),
            _ => false,
        },
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Path(path) => match path.path.segments.last() {
            Some(segment) if path.path.segments.len() == 1 && segment.ident == "String" => segment.arguments.is_empty(),
            Some(segment) if path.path.segments.len() == 1 && segment.ident == "Vec" => {
                type_arguments(segment).next().is_some_and(|element| known_layout(element).is_some())
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether the spelling is that of an owned type, which is what travels.
pub(crate) fn is_owned(ty: &Type) -> bool {
    match peel(ty) {
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Array(array) => is_owned(&array.elem),
        Type::Path(path) => {
            let Some(segment) = path.path.segments.last() else { return false };
            match segment.ident.to_string().as_str() {
                "Vec" | "Option" => type_arguments(segment).all(is_owned),
                "Result" | "Box" | "Arc" | "Rc" | "Cow" | "List" => false,
                _ => segment.arguments.is_empty() && path.qself.is_none(),
            }
        }
        _ => false,
    }
}
