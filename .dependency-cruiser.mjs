/** Layers, lowest first. A package may import only from layers strictly below its own. */
const layers = [
  ['interface'],
  ['simulator'],
  ['identity', 'raft', 'ram'],
  ['fabric'],
  ['endophyte'],
  ['node'],
]
const folders = (names) => `^packages/(?:${names.join('|')})/`
const rule = (name, comment, from, to) => ({ name, severity: 'error', comment, from, to })

const notUpward = layers
  .slice(0, -1)
  .map((names, index) =>
    rule(
      `layer-${index}-not-upward`,
      `${names} may not import a higher layer.`,
      { path: folders(names) },
      { path: folders(layers.slice(index + 1).flat()) },
    ),
  )
const notSideways = layers.map((names, index) =>
  rule(
    `layer-${index}-not-sideways`,
    'Packages of one layer do not import each other.',
    { path: `^packages/(${names.join('|')})/(?!test/)` },
    { path: folders(names), pathNot: '^packages/$1/' },
  ),
)

export default {
  forbidden: [
    ...notUpward,
    ...notSideways,
    rule(
      'no-package-without-layer',
      'Add the package to `layers`.',
      { path: '^packages/', pathNot: folders(layers.flat()) },
      {},
    ),
    rule(
      'core-is-pure',
      'src/core/ may import only core, constants, errors, the wire format and the interface package.',
      { path: '^packages/([^/]+)/src/core/' },
      {
        pathNot: [
          '^packages/$1/src/(?:core/|(?:constants|errors|wire)[.]ts$)',
          '^packages/interface/',
        ],
      },
    ),
    rule(
      'wire-is-pure',
      'A wire format serves cores: no I/O.',
      { path: '^packages/([^/]+)/src/(?:wire|constants|errors)[.]ts$' },
      { dependencyTypes: ['core'] },
    ),
    rule(
      'simulator-only-in-tests',
      'The simulator is for tests and simulations.',
      { path: '^packages/(?!simulator/)[^/]+/(?:src|bench|examples)/' },
      { path: '^packages/simulator/' },
    ),
    rule(
      'no-deep-import',
      'Import another package by its name, never its files.',
      { path: '^packages/([^/]+)/' },
      {
        path: '^packages/[^/]+/(?:src|dist|test)/',
        pathNot: ['^packages/$1/', '^packages/[^/]+/src/(?:index|testing)[.]ts$'],
      },
    ),
    rule(
      'no-relative-import-of-a-package',
      'Import another package by its name.',
      { path: '^packages/([^/]+)/' },
      { path: '^packages/', pathNot: '^packages/$1/', dependencyTypes: ['local'] },
    ),
    rule(
      'src-not-to-test',
      'Sources do not know their tests.',
      { path: '^packages/[^/]+/src/' },
      { path: '^packages/[^/]+/(?:test|bench|sim|examples)/' },
    ),
    rule(
      'no-dev-deps-in-src',
      'What src/ imports is a dependency.',
      { path: '^packages/(?!node/)[^/]+/src/' },
      { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    ),
    rule('not-to-unresolvable', 'The import leads nowhere.', {}, { couldNotResolve: true }),
    rule(
      'no-circular',
      'Only types may go in a circle.',
      {},
      { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    ),
  ],
  options: {
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(?:dist|build)/' },
    tsConfig: { fileName: 'tsconfig.check.json' },
    enhancedResolveOptions: {
      conditionNames: ['@mycelium/source', 'import', 'types', 'default'],
      exportsFields: ['exports'],
    },
  },
}
