import { parseStringPromise } from 'xml2js';
import { LibvirtError } from '../rpc/errors.js';

/**
 * XML that comes in, from whoever may open the socket (I-10). A document type is refused before the parser sees it, and
 * with it every entity that could expand or be fetched. Size, depth and number of elements are limited.
 */
export const XML_BYTES_MAX = 1024 * 1024;
const DEPTH_MAX = 32;
const ELEMENTS_MAX = 4096;

/** What the parser makes of an element, under keys that no element can have as its name. */
interface Parsed {
  readonly '#name': string;
  readonly '#attributes'?: Readonly<Record<string, string>>;
  readonly '#text'?: string;
  readonly '#children'?: readonly Parsed[];
}

/** One element that was read. */
export class XmlElement {
  constructor(private readonly parsed: Parsed) {}

  get name(): string {
    return this.parsed['#name'];
  }

  /** Its own text, without blanks around. */
  get text(): string {
    return (this.parsed['#text'] ?? '').trim();
  }

  attribute(name: string): string | undefined {
    const attributes = this.parsed['#attributes'] ?? {};
    return Object.hasOwn(attributes, name) ? attributes[name] : undefined;
  }

  children(name: string): XmlElement[] {
    return (this.parsed['#children'] ?? [])
      .filter((child) => child['#name'] === name)
      .map((child) => new XmlElement(child));
  }

  /** The first element along a path of names. */
  find(...path: readonly string[]): XmlElement | undefined {
    return path.reduce<XmlElement | undefined>((at, name) => at?.children(name)[0], this);
  }

  textOf(...path: readonly string[]): string | undefined {
    return this.find(...path)?.text;
  }
}

/** The root element, which must have that name. Rejects with LibvirtError 'xml'. */
export async function readXml(text: string, rootName: string): Promise<XmlElement> {
  checkBeforeParsing(text);
  let parsed: unknown;
  try {
    parsed = await parseStringPromise(text, {
      strict: true,
      async: false,
      explicitRoot: false,
      explicitChildren: true,
      preserveChildrenOrder: true,
      attrkey: '#attributes',
      charkey: '#text',
      childkey: '#children',
    });
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split('\n');
    throw new LibvirtError('xml', `(${rootName}_definition): ${line}`, { cause: error });
  }
  if (typeof parsed !== 'object' || parsed === null || (parsed as Parsed)['#name'] !== rootName) {
    throw new LibvirtError('xml', `unexpected root element, expecting <${rootName}>`);
  }
  return new XmlElement(parsed as Parsed);
}

function checkBeforeParsing(text: string): void {
  if (text.length > XML_BYTES_MAX || Buffer.byteLength(text) > XML_BYTES_MAX) {
    throw new LibvirtError('xml', `the document is larger than ${XML_BYTES_MAX} bytes`);
  }
  if (/<!\s*(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)/i.test(text)) {
    throw new LibvirtError('xml', 'a document type is not allowed');
  }
  checkDepth(text);
}

/** What begins and ends pieces of a document in which a `<` means nothing. */
const skipped = [
  ['<!--', '-->'],
  ['<![CDATA[', ']]>'],
  ['<?', '?>'],
] as const;

/** Walks over the tags, each byte once. What it does not understand, the parser refuses. */
function checkDepth(text: string): void {
  let depth = 0;
  let elements = 0;
  let roots = 0;
  for (let at = text.indexOf('<'); at >= 0; at = text.indexOf('<', at)) {
    const piece = skipped.find(([begin]) => text.startsWith(begin, at));
    const end = piece === undefined ? tagEnd(text, at) : text.indexOf(piece[1], at + piece[0].length);
    if (end < 0) throw new LibvirtError('xml', 'a tag, a comment or a CDATA section has no end');
    if (piece === undefined && text[at + 1] === '/') depth--;
    else if (piece === undefined) {
      if (depth === 0) roots++;
      elements++;
      if (text[end - 1] !== '/') depth++;
    }
    if (depth > DEPTH_MAX) throw new LibvirtError('xml', `elements are nested deeper than ${DEPTH_MAX}`);
    if (elements > ELEMENTS_MAX) throw new LibvirtError('xml', `more than ${ELEMENTS_MAX} elements`);
    at = end + 1;
  }
  if (roots > 1) throw new LibvirtError('xml', 'extra content at the end of the document');
}

/** Where the tag's `>` is: not one in the value of an attribute. */
function tagEnd(text: string, start: number): number {
  let quote = '';
  for (let at = start + 1; at < text.length; at++) {
    const character = text[at]!;
    if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === '>') return at;
  }
  return -1;
}
