# ruff: noqa: RUF001  words of many scripts look alike
"""The names of months in some sixty languages, made once from Unicode's CLDR 48 by Babel.

Each word names one month in all of these languages; Croatian is left out, whose names mean other months in Polish and
Czech. Words stand as :func:`words` returns them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WORDS: Final = {
    1: (
        "ene enero gen gener gennaio ian ianuarie jaan jaanuar jan janar janeiro januar januari januarie january "
        "január januára janv janvier janvāris janúar jän jänner led leden ledna oca ocak saus sausio sausis sty "
        "styczeń stycznia tammi tammikuu tammikuuta urt urtarrila xan xaneiro yan yanvar ιαν ιανουάριοσ ιανουαρίου "
        "сту студзень студзеня січ січень січня янв январь января яну януари јан јануар јануари қаң қаңтар հնվ "
        "հունվար հունվարի בינו ינו ינואר جانفي جنوری يناير ژانویه जन जनवरी जाने जानेवारी জানু জানুয়ারি ஜன ஜனவரி జన "
        "జనవరి มกราคม มค იან იანვარი 一月 "
    ),
    2: (
        "feb febbraio febr febreiro febrer febrero februar februari februarie february február februára februāris "
        "febrúar fev fevereiro fevral févr février helmi helmikuu helmikuuta lut lutego luty ots otsaila peb pebrero "
        "shk shkurt vas vasario vasaris veebr veebruar úno únor února şub şubat φεβ φεβρουάριοσ φεβρουαρίου ақп ақпан "
        "лют лютага лютий лютого люты феб фебруар фев февр февраль февраля февруари փետրվար փետրվարի փտվ בפבר פבר "
        "פברואר شباط فبراير فروری فوریه فيفري फ़र फ़रवरी फेब्रु फेब्रुअरी फेब्रुवारी ফেব ফেব্রুয়ারি பிப் பிப்ரவரி "
        "ఫిబ్ర ఫిబ్రవరి กพ กุมภาพันธ์ თებ თებერვალი 二月 "
    ),
    3: (
        "bře březen března kov kovas kovo maalis maaliskuu maaliskuuta maart mac machi mar marca march marec maret "
        "mars marso mart martie marts martxoa marzec marzo març março mrt márc március mär märts märz μάρ μάρτιοσ μαρ "
        "μαρτίου бер березень березня мар март марта нау наурыз сак сакавік сакавіка մարտ մարտի մրտ במרץ מרץ آذار "
        "مارس مارچ मार्च মার্চ மார் மார்ச் మార్చి มีค มีนาคม მარ მარტი 三月 "
    ),
    4: (
        "abr abril api apirila apr aprel april aprile aprili aprilie aprill apríl apríla aprīlis avr avril bal "
        "balandis balandžio dub duben dubna huhti huhtikuu huhtikuuta kwi kwiecień kwietnia nis nisan pri prill ápr "
        "április απρ απρίλιοσ απριλίου апр апрель апреля април квіт квітень квітня кра красавік красавіка сәу сәуір "
        "ապր ապրիլ ապրիլի אפר אפריל באפר آوریل أبريل أفريل اپریل نيسان अप्रिल अप्रैल एप्रि एप्रिल এপ্রি এপ্রিল ஏப் "
        "ஏப்ரல் ఏప్రి ఏప్రిల్ เมย เมษายน აპრ აპრილი 四月 "
    ),
    5: (
        "geg gegužė gegužės kvě květen května mag maggio mai maiatza maig maijs maio maj maja may mayo mayıs maí mei "
        "máj mája május touko toukokuu toukokuuta μάι μάιοσ μαΐ μαΐου май мам мамыр мая мај трав травень травня մայիս "
        "մայիսի մյս במאי מאי أيار مئی ماي مايو مه मई मे মে மே మే พค พฤษภาคม მაი მაისი 五月 "
    ),
    6: (
        "birž birželio birželis cze czerwca czerwiec eka ekaina giu giugno haz haziran hun hunyo iun iunie iyn iyun "
        "juin jun june junho juni junie junij junio juny juuni jún júna június júní jūn jūnijs kesä kesäkuu kesäkuuta "
        "qer qershor xuño červen června čvn ιουν ιουνίου ιούν ιούνιοσ июн июнь июня мау маусым черв червень червня "
        "чэр чэрвень чэрвеня юни јун јуни հնս հունիս հունիսի ביוני יוני جوان جون حزيران يونيو ژوئن जुन जून জুন ஜூன் "
        "జూన్ มิถุนายน มิย ივნ ივნისი 六月 "
    ),
    7: (
        "heinä heinäkuu heinäkuuta hul hulyo iul iulie iyl iyul juil juill juillet jul julai julho juli julie julij "
        "julio juliol july juuli júl júla július júlí jūl jūlijs korr korrik liep liepa liepos lip lipca lipiec lug "
        "luglio tem temmuz uzt uztaila xul xullo července červenec čvc ιουλ ιουλίου ιούλ ιούλιοσ июл июль июля лип "
        "липень липня ліп ліпень ліпеня шіл шілде юли јул јули հլս հուլիս հուլիսի ביולי יולי تموز جولائی جويلية يوليو "
        "يوليوز ژوئیه जुल जुलाई जुलै জুল জুলাই ஜூலை జులై กค กรกฎาคม ივლ ივლისი 七月 "
    ),
    8: (
        "abu abuztua ag ago agost agosti agosto agt agu agustus août aug august augusta augusti augusts augustus "
        "augusztus avg avgust avq avqust ağu ağustos elo elokuu elokuuta gush gusht ogo ogos rugp rugpjūtis rugpjūčio "
        "sie sierpień sierpnia srp srpen srpna ágú ágúst αυγ αυγούστου αύγ αύγουστοσ авг август августа жні жнівень "
        "жніўня серп серпень серпня там тамыз օգոստոս օգոստոսի օգս אוג אוגוסט באוג آب أغسطس أوت اوت اگست غشت अग अगस्ट "
        "अगस्त ऑग ऑगस्ट আগ আগস্ট ஆக ஆகஸ்ட் ఆగ ఆగస్టు สค สิงหาคม აგვ აგვისტო 八月 "
    ),
    9: (
        "eyl eylül ira iraila rugs rugsėjis rugsėjo sen sentyabr sep sept septemba septembar september septembra "
        "septembre septembrie septembris septiembre set setembre setembro settembre setyembre sht shtator syys "
        "syyskuu syyskuuta szept szeptember wrz wrzesień września zář září σεπ σεπτέμβριοσ σεπτεμβρίου вер верасень "
        "верасня вересень вересня сент сентябрь сентября сеп септембар септември қыр қыркүйек սեպ սեպտեմբեր "
        "սեպտեմբերի בספט ספט ספטמבר أيلول سبتمبر ستمبر سپتامبر شتنبر सप्टें सप्टेंबर सित सितंबर सेप्टेम्बर সেপ সেপ্ট "
        "সেপ্টেম্বর செப் செப்டம்பர் సెప్టెం సెప్టెంబర్ กย กันยายน სექ სექტემბერი 九月 "
    ),
    10: (
        "eki ekim loka lokakuu lokakuuta oct october octobre octombrie octubre okt oktoba oktobar oktober oktobris "
        "oktoober oktubre oktyabr október októbra ott ottobre out outubro paź październik października spal spalio "
        "spalis tet tetor urr urria říj říjen října οκτ οκτωβρίου οκτώβριοσ жовт жовтень жовтня кас кастрычнік "
        "кастрычніка окт октобар октомври октябрь октября қаз қазан հոկ հոկտեմբեր հոկտեմբերի אוק אוקטובר באוק أكتوبر "
        "اکتبر اکتوبر अक्टू अक्टूबर अक्टोबर ऑक्टो ऑक्टोबर অক্টো অক্টোবর அக் அக்டோபர் అక్టో అక్టోబర్ ตค ตุลาคม ოქტ "
        "ოქტომბერი 十月 "
    ),
    11: (
        "aza azaroa kas kasım lapkr lapkritis lapkričio lis listopad listopada listopadu marras marraskuu marraskuuta "
        "nob nobyembre noiembrie nov novemba novembar november novembra novembre novembris novembro noviembre noy "
        "noyabr nën nëntor nóv nóvember νοέ νοέμβριοσ νοε νοεμβρίου лист листопад листопада ліс лістапад лістапада "
        "нов новембар ное ноември нояб ноябрь ноября қар қараша նոյ նոյեմբեր նոյեմբերի בנוב נוב נובמבר نوامبر نوفمبر "
        "نومبر نونبر नव नवंबर नोभेम्बर नोव्हें नोव्हेंबर নভে নভেম্বর நவ நவம்பர் నవం నవంబర్ พย พฤศจิกายน ნოე ნოემბერი "
        "十一月 "
    ),
    12: (
        "abe abendua ara aralık dec decembar december decembra decembrie decembris decembro dek dekabr des desemba "
        "desember desembre dets detsember dez dezember dezembro dhj dhjetor dic dicembre diciembre dis disember "
        "disyembre déc décembre gru grudnia grudzień gruod gruodis gruodžio joulu joulukuu joulukuuta pro prosince "
        "prosinec δεκ δεκέμβριοσ δεκεμβρίου груд грудень грудня дек декабрь декабря декември дец децембар жел "
        "желтоқсан сне снежань снежня դեկ դեկտեմբեր դեկտեմբերի בדצמ דצמ דצמבר دجنبر دسامبر دسمبر ديسمبر डिसें डिसेंबर "
        "डिसेम्बर दिस दिसंबर ডিসে ডিসেম্বর டிச டிசம்பர் డిసెం డిసెంబర్ ธค ธันวาคม დეკ დეკემბერი 十二月 "
    ),
}

MONTH_OF: Final = {word: month for month, words in _WORDS.items() for word in words.split()}
# Dots, and the signs by which Hebrew and the languages of India shorten words.
_SHORTENING: Final = re.compile("[.\u05f3\u0970]")


def words(text: str) -> list[str]:
    """Return the words of a date as the table of months has them: without dots, digits and marks between them."""
    bare = _SHORTENING.sub("", unicodedata.normalize("NFKC", text.casefold()))
    return "".join(char if unicodedata.category(char)[0] in "LM" else " " for char in bare).split()
