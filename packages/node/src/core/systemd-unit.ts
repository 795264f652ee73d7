/** The unit of the daemon for systemd (systemd.service(5), systemd.exec(5)). Pure. */

export interface UnitInit {
  /** The program and its arguments, absolute: systemd runs no shell. */
  readonly command: readonly string[]
  readonly dataFolder: string
}

/**
 * Hosts of VMs outlive the daemon: `KillMode=process` ends it alone, and the folder of its sockets
 * stays. What it may do is taken from it as far as a fabric and an admin socket allow.
 */
export function renderUnit({ command, dataFolder }: UnitInit): string {
  return `[Unit]
Description=Digital Mycelium Network node
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=${command.map(quoted).join(' ')}
Restart=always
RestartSec=1
KillMode=process
RuntimeDirectory=mycelium
RuntimeDirectoryMode=0750
RuntimeDirectoryPreserve=yes
StateDirectory=mycelium
StateDirectoryMode=0700
ReadWritePaths=${quoted(dataFolder)}
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
RestrictSUIDSGID=yes
LockPersonality=yes
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`
}

/** One word, whatever it holds: quotes, and specifiers and variables doubled. */
function quoted(word: string): string {
  const escaped = word
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$')
    .replaceAll('\n', '\\n')
  return /^[\w./:@=+-]+$/.test(word) ? word : `"${escaped}"`
}
