/** XML that goes out: elements as values, written well-formed whatever the texts in them are. */
export interface Element {
  readonly name: string;
  readonly attributes?: Readonly<Record<string, string | number>>;
  readonly children?: readonly (Element | undefined)[];
  readonly text?: string | number | bigint;
}

export function element(
  name: string,
  attributes: Element['attributes'],
  children?: Element['children'] | string | number | bigint,
): Element {
  if (children === undefined) return { name, ...(attributes && { attributes }) };
  return typeof children === 'object'
    ? { name, ...(attributes && { attributes }), children }
    : { name, ...(attributes && { attributes }), text: children };
}

const INDENT = '  ';

/** As libvirt prints it: two blanks deeper for each level, and a newline at the end. */
export function formatXml(root: Element, depth = 0): string {
  const margin = INDENT.repeat(depth);
  const attributes = Object.entries(root.attributes ?? {})
    .map(([name, value]) => ` ${name}='${escapeXml(String(value))}'`)
    .join('');
  if (root.text !== undefined) {
    return `${margin}<${root.name}${attributes}>${escapeXml(String(root.text))}</${root.name}>\n`;
  }
  const children = (root.children ?? []).filter((child) => child !== undefined);
  if (children.length === 0 && root.children === undefined) return `${margin}<${root.name}${attributes}/>\n`;
  const inner = children.map((child) => formatXml(child, depth + 1)).join('');
  return `${margin}<${root.name}${attributes}>\n${inner}${margin}</${root.name}>\n`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

/** Characters that XML cannot hold in any form become a question mark. */
export function escapeXml(text: string): string {
  // By way of UTF-8, in which halves of surrogate pairs do not exist.
  return Buffer.from(text)
    .toString()
    .replace(/[&<>'"\t\n\r]/g, (character) => entities[character]!)
    .replace(NOT_XML, '?');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;
