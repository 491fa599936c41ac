//! `#[derive(Table)]` for GraceDb.
//!
//! Turns a struct with named fields into a row type: its definition, its key, its indexes. Every
//! mistake in the attributes is an error at its place in the source. Not here: the traits
//! (`gracedb::table`), the check that ids are unique in a schema (`gracedb::schema`).

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Ident, LitInt, LitStr, Token, Type};

/// Makes a struct a row of a GraceDb table.
///
/// - `#[table(id = 3, name = "account", version = 1)]`: number and name; `version` (1 when left
///   out) is raised when a type inside a field changes.
/// - `#[key]` on one or more fields, at most six: the primary key, in the order of the fields.
/// - `#[index(id = 1, name = AccountByAddress, fields(domain, local), unique)]`: an index; any
///   number of them.
#[proc_macro_derive(Table, attributes(table, index, key))]
pub fn derive_table(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Makes a struct of key fields a family of counters.
///
/// - `#[counter(id = 9, name = "delivered", version = 1)]`: number and name, as of a table.
/// - `#[key]` on every field, at most six: what each counter is for.
#[proc_macro_derive(Counter, attributes(counter, key))]
pub fn derive_counter(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand_counter(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Most parts of a key; `gracedb::key` has tuples up to this.
const KEY_PARTS_MAX: usize = 6;

struct TableArgs {
    id: LitInt,
    name: LitStr,
    version: Option<LitInt>,
}

struct IndexArgs {
    id: LitInt,
    name: Ident,
    fields: Vec<Ident>,
    unique: bool,
}

fn expand(input: &DeriveInput) -> Result<Tokens, Error> {
    if !input.generics.params.is_empty() {
        return Err(Error::new(input.generics.span(), "a table has no generic parameters"));
    }
    let fields = named_fields(input)?;
    let table = table_args(input, "table")?;
    let keys: Vec<&Field> = fields.iter().filter(|field| has(field, "key")).collect();
    if keys.is_empty() || keys.len() > KEY_PARTS_MAX {
        return Err(Error::new(
            input.ident.span(),
            "a table needs one to six fields marked #[key]",
        ));
    }
    let indexes: Vec<IndexArgs> = input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("index"))
        .map(index_args)
        .collect::<Result<_, _>>()?;
    let index_types = indexes
        .iter()
        .map(|index| expand_index(input, fields, index))
        .collect::<Result<Vec<_>, _>>()?;
    let table = expand_table(input, fields, &table, &keys, &indexes);
    Ok(quote! { #table #(#index_types)* })
}

fn named_fields(input: &DeriveInput) -> Result<&Punctuated<Field, Token![,]>, Error> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(&fields.named),
            Fields::Unnamed(_) | Fields::Unit => {
                Err(Error::new(input.ident.span(), "a table needs named fields"))
            }
        },
        Data::Enum(_) | Data::Union(_) => {
            Err(Error::new(input.ident.span(), "a table is a struct with named fields"))
        }
    }
}

fn has(field: &Field, name: &str) -> bool {
    field.attrs.iter().any(|attribute| attribute.path().is_ident(name))
}

fn table_args(input: &DeriveInput, word: &str) -> Result<TableArgs, Error> {
    let missing = || {
        let text = format!("write #[{word}(id = 1, name = \"…\")] above the struct");
        Error::new(input.ident.span(), text)
    };
    let attribute =
        input.attrs.iter().find(|each| each.path().is_ident(word)).ok_or_else(missing)?;
    let (mut id, mut name, mut version) = (None, None, None);
    attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("id") {
            id = Some(meta.value()?.parse::<LitInt>()?);
        } else if meta.path.is_ident("name") {
            name = Some(meta.value()?.parse::<LitStr>()?);
        } else if meta.path.is_ident("version") {
            version = Some(meta.value()?.parse::<LitInt>()?);
        } else {
            return Err(meta.error("expected id, name or version"));
        }
        Ok(())
    })?;
    let (Some(id), Some(name)) = (id, name) else { return Err(missing()) };
    if name.value().is_empty() || name.value().contains(char::is_whitespace) {
        return Err(Error::new(name.span(), "a table's name is one word"));
    }
    Ok(TableArgs { id, name, version })
}

fn index_args(attribute: &Attribute) -> Result<IndexArgs, Error> {
    let (mut id, mut name, mut fields, mut unique) = (None, None, Vec::new(), false);
    attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("id") {
            id = Some(meta.value()?.parse::<LitInt>()?);
        } else if meta.path.is_ident("name") {
            name = Some(meta.value()?.parse::<Ident>()?);
        } else if meta.path.is_ident("unique") {
            unique = true;
        } else if meta.path.is_ident("fields") {
            let content;
            syn::parenthesized!(content in meta.input);
            fields =
                Punctuated::<Ident, Token![,]>::parse_terminated(&content)?.into_iter().collect();
        } else {
            return Err(meta.error("expected id, name, fields or unique"));
        }
        Ok(())
    })?;
    let (Some(id), Some(name)) = (id, name) else {
        return Err(Error::new(
            attribute.span(),
            "write #[index(id = 1, name = TypeName, fields(…))]",
        ));
    };
    if fields.is_empty() || fields.len() > KEY_PARTS_MAX {
        return Err(Error::new(attribute.span(), "an index has one to six fields"));
    }
    Ok(IndexArgs { id, name, fields, unique })
}

/// `u64`, or `(u64, u32)`.
fn key_type(types: &[&Type]) -> Tokens {
    match types {
        [only] => quote! { #only },
        many => quote! { (#(#many,)*) },
    }
}

fn type_text(kind: &Type) -> String {
    kind.to_token_stream().to_string().split_whitespace().collect::<Vec<_>>().concat()
}

fn index_def(index: &IndexArgs) -> Tokens {
    let (id, unique) = (&index.id, index.unique);
    let name = index.name.to_string();
    let fields = index.fields.iter().map(Ident::to_string);
    quote! {
        ::gracedb::schema::IndexDef {
            id: #id, name: #name, unique: #unique, fields: &[#(#fields),*],
        }
    }
}

fn expand_table(
    input: &DeriveInput,
    fields: &Punctuated<Field, Token![,]>,
    table: &TableArgs,
    keys: &[&Field],
    indexes: &[IndexArgs],
) -> Tokens {
    let ident = &input.ident;
    let TableArgs { id, name, version } = table;
    let version = version.as_ref().map_or_else(|| quote! { 1 }, ToTokens::to_token_stream);
    let key_type = key_type(&keys.iter().map(|field| &field.ty).collect::<Vec<_>>());
    let key_idents: Vec<_> = keys.iter().filter_map(|field| field.ident.as_ref()).collect();
    let key_names = key_idents.iter().map(ToString::to_string);
    let field_names = fields.iter().filter_map(|field| field.ident.as_ref()).map(Ident::to_string);
    let field_types = fields.iter().map(|field| type_text(&field.ty));
    let index_defs = indexes.iter().map(index_def);
    let index_arms = indexes.iter().enumerate().map(|(at, index)| {
        let fields = &index.fields;
        quote! { #at => { #( ::gracedb::key::KeyPart::put(&self.#fields, out); )* } }
    });
    quote! {
        impl ::gracedb::table::Table for #ident {
            const DEF: ::gracedb::schema::TableDef = ::gracedb::schema::TableDef {
                id: #id,
                name: #name,
                version: #version,
                key: &[#(#key_names),*],
                fields: &[#(
                    ::gracedb::schema::FieldDef { name: #field_names, kind: #field_types }
                ),*],
                indexes: &[#(#index_defs),*],
                is_counter: false,
                entries: ::gracedb::table::entries_of::<#ident>,
            };
            type Key = #key_type;

            fn put_key(&self, out: &mut ::std::vec::Vec<u8>) {
                #( ::gracedb::key::KeyPart::put(&self.#key_idents, out); )*
            }

            fn put_index_key(&self, index: usize, out: &mut ::std::vec::Vec<u8>) {
                let _ = &out;
                match index {
                    #(#index_arms)*
                    _ => {}
                }
            }
        }
    }
}

fn expand_counter(input: &DeriveInput) -> Result<Tokens, Error> {
    if !input.generics.params.is_empty() {
        return Err(Error::new(input.generics.span(), "a counter has no generic parameters"));
    }
    let fields = named_fields(input)?;
    let TableArgs { id, name, version } = table_args(input, "counter")?;
    let version = version.as_ref().map_or_else(|| quote! { 1 }, ToTokens::to_token_stream);
    if let Some(field) = fields.iter().find(|field| !has(field, "key")) {
        return Err(Error::new(field.span(), "every field of a counter is marked #[key]"));
    }
    if fields.is_empty() || fields.len() > KEY_PARTS_MAX {
        return Err(Error::new(input.ident.span(), "a counter has one to six fields"));
    }
    let key_type = key_type(&fields.iter().map(|field| &field.ty).collect::<Vec<_>>());
    let names: Vec<String> =
        fields.iter().filter_map(|field| field.ident.as_ref()).map(Ident::to_string).collect();
    let types = fields.iter().map(|field| type_text(&field.ty));
    let ident = &input.ident;
    Ok(quote! {
        impl ::gracedb::table::Counter for #ident {
            const DEF: ::gracedb::schema::TableDef = ::gracedb::schema::TableDef {
                id: #id,
                name: #name,
                version: #version,
                key: &[#(#names),*],
                fields: &[#( ::gracedb::schema::FieldDef { name: #names, kind: #types } ),*],
                indexes: &[],
                is_counter: true,
                entries: ::gracedb::table::no_entries,
            };
            type Key = #key_type;
        }
    })
}

fn expand_index(
    input: &DeriveInput,
    fields: &Punctuated<Field, Token![,]>,
    index: &IndexArgs,
) -> Result<Tokens, Error> {
    let types = index
        .fields
        .iter()
        .map(|name| {
            fields
                .iter()
                .find(|field| field.ident.as_ref() == Some(name))
                .map(|field| &field.ty)
                .ok_or_else(|| Error::new(name.span(), format!("there is no field `{name}`")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let key_type = key_type(&types);
    let (ident, vis, name, def) = (&input.ident, &input.vis, &index.name, index_def(index));
    let doc = format!("Index of [`{ident}`] by {}.", join(&index.fields));
    let unique = index.unique.then(|| quote! { impl ::gracedb::table::UniqueIndex for #name {} });
    Ok(quote! {
        #[doc = #doc]
        #[derive(Debug, Clone, Copy)]
        #vis struct #name;

        impl ::gracedb::table::Index for #name {
            type Row = #ident;
            type Key = #key_type;
            const DEF: ::gracedb::schema::IndexDef = #def;
        }
        #unique
    })
}

fn join(fields: &[Ident]) -> String {
    fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
