import { readFileSync } from 'node:fs';
import { AppError } from '../base/errors.js';
import { parsePskFile } from '../nbd/psk-file.js';
import type { NbdTlsOptions } from '../nbd/tls.js';
import type { SheepConfig } from './config.js';

/** The keys and certificates that the configuration names, read now. Throws AppError 'usage' when some are missing. */
export function tlsOptions(config: SheepConfig): { tls: NbdTlsOptions } | undefined {
  const mode = config.tlsMode;
  if (mode === 'off') return undefined;
  if (config.tlsPsk !== undefined) {
    return {
      tls: { mode, credentials: { type: 'psk', keys: parsePskFile(readFileSync(config.tlsPsk, 'utf8')) } },
    };
  }
  if (config.tlsCert === undefined || config.tlsKey === undefined) {
    throw new AppError('usage', 'TLS needs --tls-cert and --tls-key, or --tls-psk');
  }
  const clientCa = config.tlsClientCa;
  return {
    tls: {
      mode,
      credentials: {
        type: 'certificate',
        certPem: readFileSync(config.tlsCert, 'utf8'),
        keyPem: readFileSync(config.tlsKey, 'utf8'),
        ...(clientCa !== undefined && { clientCaPem: readFileSync(clientCa, 'utf8') }),
      },
    },
  };
}
