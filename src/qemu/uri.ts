/**
 * URIs as QEMU's own parser takes them (RFC 3986, ASCII only): what it refuses is refused here, so that scripts see the
 * same complaints. Pure.
 */
export interface Uri {
  readonly scheme: string;
  /** Decoded; '' when there is none. An IPv6 address comes without its brackets. */
  readonly host: string;
  /** 0 when none is given. */
  readonly port: number;
  /** Decoded, with its leading slash; '' when there is none. */
  readonly path: string;
  /** Decoded, in their order; a name without `=` has the value ''. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Decoded; undefined when there is no `#`. */
  readonly fragment: string | undefined;
}

const PORT_MAX = 65535;
const unreserved = String.raw`A-Za-z0-9\-._~`;
const subDelims = "!$&'()*+,;=";
const encoded = '%[0-9A-Fa-f]{2}';
const pchars = `(?:[${unreserved}${subDelims}:@]|${encoded})`;
const path = `(?:${pchars}|/)*`;
const query = `(?:${pchars}|[/?])*`;
const fragment = String.raw`(?:${pchars}|[/?\[\]])*`;
const host = String.raw`\[[0-9A-Fa-f:.]+\]|(?:[${unreserved}${subDelims}]|${encoded})*`;
const user = `(?:[${unreserved}${subDelims}:]|${encoded})*@`;
const pattern = new RegExp(
  `^([A-Za-z][A-Za-z0-9+.-]*)://(?:${user})?(${host})(?::(\\d+))?(/${path})?(?:\\?(${query}))?(?:#(${fragment}))?$`,
);

/** Undefined when the text is no URI. */
export function parseUri(text: string): Uri | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3] ?? '0');
  if (port > PORT_MAX) return undefined;
  return {
    scheme: match[1]!,
    host: decode(match[2]!.replace(/^\[(.*)\]$/, '$1')),
    port,
    path: decode(match[4] ?? ''),
    query: parseQuery(match[5] ?? ''),
    fragment: match[6] === undefined ? undefined : decode(match[6]),
  };
}

function parseQuery(text: string): (readonly [string, string])[] {
  return text
    .split(/[&;]/)
    .filter((part) => part !== '' && !part.startsWith('='))
    .map((part) => {
      const at = part.includes('=') ? part.indexOf('=') : part.length;
      return [decode(part.slice(0, at)), decode(part.slice(at + 1))] as const;
    });
}

/** Escapes are bytes, and the bytes are UTF-8; a NUL ends the text, as it does in C. */
function decode(text: string): string {
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '%') {
      bytes.push(Number.parseInt(text.slice(i + 1, i + 3), 16));
      i += 2;
    } else bytes.push(text.charCodeAt(i));
  }
  return Buffer.from(bytes).toString().replace(/\0.*$/s, '');
}
