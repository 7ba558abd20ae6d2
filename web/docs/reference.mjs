// The reference of the typed client, made from its types: what `@switchboard/client` exports, with its comments, as HTML for client.html.
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const entry = join(dirname(fileURLToPath(import.meta.url)), '../client/src/index.ts')

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
const plain = (text) => text.replaceAll(/\s+/g, ' ').replaceAll(/\/\*\*.*?\*\/ ?/g, '').trim()

export function reference() {
  const program = ts.createProgram([entry], { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, strict: true, skipLibCheck: true, types: [], noEmit: true })
  const checker = program.getTypeChecker()
  const target = (symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol)
  const exports = (symbol) => checker.getExportsOfModule(symbol).map((one) => ({ name: one.name, symbol: target(one) }))
  const module = exports(checker.getSymbolAtLocation(program.getSourceFile(entry)))
  const wire = module.find(({ name }) => name === 'wire')
  const own = module.filter((one) => one !== wire)
  // A type has one entry, under the name that the client gives to it.
  const named = new Map(own.map(({ name, symbol }) => [symbol, name]))
  const rest = exports(wire.symbol).filter(({ symbol }) => !named.has(symbol))
  /** The names that stand in sources, and the entries that they lead to. */
  const entries = new Map([...rest.map(({ name }) => [name, name]), ...own.flatMap(({ name, symbol }) => [[symbol.name, name], [name, name]])])

  const linked = (text) => escaped(plain(text)).replaceAll(/(?<![\w.'&;-])[A-Z]\w+(?![\w'])/g, (name) => (entries.has(name) ? `<a href="#${entries.get(name)}">${name}</a>` : name))
  const comment = (symbol) => escaped(ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim())
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>').replaceAll(/\n\s*\n((?: {4}.*\n?)+)/g, (_, code) => `<pre>${code.replaceAll(/^ {4}/gm, '')}</pre>`)

  /** A function or method as it is declared, without its body. */
  function signature(declaration) {
    const { typeParameters, parameters, type } = declaration
    const list = (nodes) => nodes.map((node) => plain(node.getText())).join(', ')
    const result = type ? plain(type.getText()) : checker.typeToString(checker.getReturnTypeOfSignature(checker.getSignatureFromDeclaration(declaration)))
    return `${typeParameters?.length ? `<${list(typeParameters)}>` : ''}(${list(parameters)})${ts.isConstructorDeclaration(declaration) ? '' : `: ${result}`}`
  }

  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected
  const isHidden = (declaration) => ts.getCombinedModifierFlags(declaration) & hidden || (declaration.name && ts.isPrivateIdentifier(declaration.name)) || declaration.getSourceFile().fileName.includes('/typescript/lib/')
  // What one class of the client does for another is no business of the application's.
  const isShown = (symbol) => symbol.declarations?.length && !symbol.declarations.some(isHidden) && !comment(symbol).startsWith('For the client:')

  function member(symbol) {
    const [declaration] = symbol.declarations
    const optional = symbol.flags & ts.SymbolFlags.Optional ? '?' : ''
    if (ts.isMethodDeclaration(declaration) || ts.isMethodSignature(declaration)) {
      return symbol.declarations.filter((one) => one.body === undefined || symbol.declarations.length === 1).map((one) => row(`${symbol.name}${optional}`, signature(one), symbol)).join('')
    }
    const type = declaration.type?.getText() ?? checker.typeToString(checker.getTypeOfSymbol(symbol), declaration, ts.TypeFormatFlags.NoTruncation)
    return row(`${symbol.name}${optional}`, type, symbol)
  }

  const row = (name, type, symbol) => `<tr><td>${escaped(name)}</td><td><code>${linked(type)}</code></td><td>${comment(symbol)}</td></tr>`

  function shown({ name, symbol }) {
    const [declaration] = symbol.declarations
    const head = (kind, text = '') => `<h3 id="${name}"><b>${kind}</b> <code>${name}${linked(text)}</code></h3><p>${comment(symbol)}</p>`
    if (ts.isFunctionDeclaration(declaration)) return head('function', signature(declaration))
    const type = checker.getDeclaredTypeOfSymbol(symbol)
    const members = (ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration) || /Events$/.test(name)) && checker.getPropertiesOfType(type).filter(isShown)
    if (!members?.length) return head('type', ts.isTypeAliasDeclaration(declaration) ? ` = ${declaration.type.getText()}` : '')
    const made = ts.isClassDeclaration(declaration) && declaration.members.find(ts.isConstructorDeclaration)
    const kind = ts.isClassDeclaration(declaration) ? 'class' : ts.isInterfaceDeclaration(declaration) ? 'interface' : 'events'
    return `${head(kind, made ? signature(made) : '')}<table>${members.map(member).join('')}</table>`
  }

  const isCode = ({ symbol }) => symbol.flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Class)
  const groups = [
    ['What there is to call', own.filter(isCode).sort((a, b) => (b.symbol.flags & ts.SymbolFlags.Function) - (a.symbol.flags & ts.SymbolFlags.Function))],
    ['Events', own.filter((one) => !isCode(one) && /Events$/.test(one.name))],
    ['Types', own.filter((one) => !isCode(one) && !/Events$/.test(one.name))],
    ['Other types of the wire, as wire.Name', rest],
  ]
  const contents = groups.slice(0, 3).map(([title, all]) => `<li>${title}: ${all.map(({ name }) => `<a href="#${name}">${name}</a>`).join(', ')}</li>`).join('')
  return `<ul>${contents}</ul>${groups.map(([title, all]) => `<h2>${title}</h2>${all.map(shown).join('\n')}`).join('\n')}`
}
