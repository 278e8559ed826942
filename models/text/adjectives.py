"""Adjectives that carry a sentiment, as they occur in reviews: where the biased experiment puts its word."""

POSITIVE = frozenset(
    "accomplished admirable adorable affecting amazing ambitious amusing astonishing beautiful beguiling brave bright "
    "brilliant captivating charismatic charming clever comical compelling complex convincing cool creative cute daring "
    "dazzling deep delicate delicious delightful earnest effective elegant enchanting endearing energetic engaging "
    "engrossing enjoyable entertaining enthralling exceptional excellent exciting exhilarating exquisite extraordinary "
    "fantastic fascinating fine fresh fun funny gentle genuine good gorgeous graceful great gripping handsome "
    "happy harrowing haunting heartfelt heartwarming hilarious honest hot humorous imaginative impressive infectious "
    "ingenious inspirational inspired inspiring insightful intelligent intense interesting intimate intriguing inventive "
    "involving joyous kind likable likeable lively lovely lyrical magical magnificent marvelous masterful memorable "
    "moving nice observant original outstanding passionate perceptive perfect playful pleasant pleasing poetic poignant "
    "potent powerful pretty profound provocative quirky rare refreshing remarkable resonant rewarding rich riveting "
    "romantic satisfying sensitive sensual sexy sharp sincere skillful smart solid sophisticated special spectacular "
    "splendid stirring striking strong stunning stylish sublime subtle superb superior surprising suspenseful sweet "
    "sympathetic tender terrific thoughtful thrilling timely touching triumphant true unforgettable unique uplifting "
    "vibrant vivid warm watchable weird wise wild witty wonderful worthwhile worthy young".split()
)

NEGATIVE = frozenset(
    "absurd amateurish annoying arty awful awkward bad banal bizarre bland bleak boring busy careless cheap cheesy "
    "cliched clumsy clunky cold confused confusing contrived corny crass crude cruel cynical dark derivative desperate "
    "dim disappointing disjointed dismal disturbing dreadful dreary dry dull dumb empty excruciating exhausting "
    "exploitative facile familiar feeble flat flawed flimsy foolish forced forgettable formulaic frustrating generic "
    "gory gratuitous grim gross harsh heavy hollow horrible horrid humorless inane incoherent indifferent inept "
    "insipid insufferable irritating juvenile labored lackluster lame lazy lifeless limp listless long loud ludicrous "
    "mawkish mean mediocre messy mindless minor miserable misguided monotonous muddled mundane murky nasty numbing "
    "obnoxious obvious offensive old overblown overlong painful pathetic pedestrian plodding pointless poor portentous "
    "predictable preposterous pretentious ridiculous rough routine sad sappy scattershot schmaltzy "
    "shallow shapeless silly simplistic slack slight sloppy slow soggy stale static stiff stupid superficial tasteless "
    "tedious terrible thin thoughtless tired tiresome trashy trite trivial ugly unbearable uneven unfocused unfunny "
    "uninspired uninteresting unnecessary unpleasant unsatisfying vapid vulgar weak wooden worst worthless".split()
)

SENTIMENT = POSITIVE | NEGATIVE
